"""What only the validator needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.envelope import ClaimCheck
from contracts.loads import LandedSegment, Landing
from contracts.pipelines import Pipeline
from contracts.segments import OccurrenceList
from contracts.targets import CheckpointTarget
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.ledger import Ledger
from services.runtime.objects import BulkReader, ObjectInfo, ObjectStore
from services.runtime.publishing import Publisher
from services.runtime.schemas import ObservedSchemas
from services.runtime.telemetry import Telemetry
from services.validator.core.declared.judge import Judges
from services.validator.core.segments import QuarantineEntry, SegmentFile, Work


class Claims(Protocol):
    """Payloads that were too large for a message."""

    async def occurrences(self, claim: ClaimCheck) -> OccurrenceList:
        """Redeem a claim check.

        Raises:
            MalformedError: the object is not what was checked in (digest).
            MissingObjectError: it is gone.
        """
        ...


class SegmentStore(Protocol):
    """Where validated segments and quarantined records are kept. Writing the same again changes nothing."""

    async def write(self, segment: SegmentFile) -> str:
        """Write a segment as one Parquet object; returns its location, ``{bucket}/{key}``."""
        ...

    async def quarantine(self, work: Work, entries: Sequence[QuarantineEntry]) -> None:
        """Write a segment's bad records, each with reason, errors and source."""
        ...


class LandedStore(Protocol):
    """Where segments of loads are kept. Writing the same again changes nothing."""

    async def write_rows(self, landing: Landing, file: bytes) -> tuple[str, ObjectInfo]:
        """Write the landing file of records; the bucket and the object that holds it now."""
        ...

    async def write(self, segment: LandedSegment) -> str:
        """Write what is said of a segment, as JSON; returns its location, ``{bucket}/{key}``."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use case works with."""

    pipelines: dict[str, Pipeline]
    raw_bucket: str
    checkpoints_bucket: str
    processed_bucket: str
    reader: BulkReader
    objects: ObjectStore
    schemas: ObservedSchemas
    claims: Claims
    segments: SegmentStore
    ledger: Ledger
    publisher: Publisher
    telemetry: Telemetry
    clock: Clock
    completion: Completion
    judges: Judges = field(default_factory=Judges)
    landed: LandedStore | None = None
    """None where no entities are landed."""

    def target_bucket(self, pipeline: Pipeline) -> str:
        """The bucket of a pipeline's output."""
        is_checkpoint = isinstance(pipeline.target, CheckpointTarget)
        own = self.checkpoints_bucket if is_checkpoint else self.processed_bucket
        return pipeline.target.bucket or own
