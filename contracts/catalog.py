"""Every message kind there is: the one list that consumers, schema export and documentation read."""

from collections.abc import Mapping
from types import MappingProxyType

from contracts.checkpoints import CheckpointMerged, CheckpointRestored, RestoreCheckpoint
from contracts.chunks import ProcessChunk, RunAction
from contracts.envelope import Payload
from contracts.fetching import FetchSegment, ValidateFetched
from contracts.loads import FetchSlice, WriteParts
from contracts.runs import (
    LimitReached,
    LoadPublished,
    PlanRun,
    RunCompleted,
    RunFailed,
    ScheduledScan,
    SchemaChanged,
    SchemaDrifted,
)
from contracts.segments import MergeSegment, ValidateSegment


def _by_kind(*models: type[Payload]) -> Mapping[str, type[Payload]]:
    return MappingProxyType({model.kind(): model for model in models})


PLANNER_COMMANDS = _by_kind(PlanRun, ScheduledScan)
FETCHER_COMMANDS = _by_kind(FetchSegment, FetchSlice)
VALIDATOR_COMMANDS = _by_kind(ValidateSegment, ValidateFetched)
MERGER_COMMANDS = _by_kind(MergeSegment, RestoreCheckpoint, WriteParts)
CHUNK_COMMANDS = _by_kind(ProcessChunk, RunAction)
FACTS = _by_kind(
    RunCompleted,
    RunFailed,
    LimitReached,
    SchemaDrifted,
    SchemaChanged,
    CheckpointMerged,
    CheckpointRestored,
    LoadPublished,
)
MESSAGES: Mapping[str, type[Payload]] = MappingProxyType(
    {**PLANNER_COMMANDS, **FETCHER_COMMANDS, **VALIDATOR_COMMANDS, **MERGER_COMMANDS, **CHUNK_COMMANDS, **FACTS}
)
