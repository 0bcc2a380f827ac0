"""What only the planner needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from contracts.envelope import ClaimCheck
from contracts.pipelines import PartitionTarget, Pipeline
from contracts.segments import Occurrence
from services.planner.core import Plan
from services.runtime.checkpoints import Checkpoints
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.ledger import Ledger
from services.runtime.objects import ObjectStore
from services.runtime.occurrences import Occurrences
from services.runtime.publishing import Publisher
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks


class Plans(Protocol):
    """Plans and the lists of occurrences they point to."""

    async def check_in(self, run_id: str, segment_id: str, occurrences: Sequence[Occurrence]) -> ClaimCheck:
        """Keep a segment's occurrences; returns the claim check for them."""
        ...

    async def keep(self, plan: Plan) -> Plan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        ...

    async def find(self, run_id: str) -> Plan | None:
        """The plan of a run, if it was made."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use case works with."""

    pipelines: dict[str, Pipeline]
    raw_bucket: str
    checkpoints_bucket: str
    processed_bucket: str
    objects: ObjectStore
    plans: Plans
    occurrences: Occurrences
    checkpoints: Checkpoints
    ledger: Ledger
    watermarks: Watermarks
    publisher: Publisher
    completion: Completion
    telemetry: Telemetry
    clock: Clock
    stranded_after: timedelta = timedelta(minutes=5)
    """A validated segment this old without a merge is announced again; merging it twice is harmless."""

    def target_bucket(self, pipeline: Pipeline) -> str:
        """The bucket of a pipeline's output."""
        own = self.processed_bucket if isinstance(pipeline.target, PartitionTarget) else self.checkpoints_bucket
        return pipeline.target.bucket or own
