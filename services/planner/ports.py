"""What only the planner needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from contracts.envelope import ClaimCheck
from contracts.fields import EntityField
from contracts.loads import LoadPlan, Slice
from contracts.pipelines import Pipeline
from contracts.plans import CollectPlan, PlanPreview
from contracts.runs import LoadType
from contracts.segments import Occurrence
from contracts.targets import BronzeTarget, CheckpointTarget, PartitionTarget
from services.planner.core.scan import Plan
from services.runtime.checkpoints import Checkpoints
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.datasets import Datasets
from services.runtime.leases import Leases
from services.runtime.ledger import Ledger
from services.runtime.objects import ObjectStore
from services.runtime.occurrences import Occurrences
from services.runtime.publishing import Publisher
from services.runtime.schemas import EntitySchemas
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks


class Plans(Protocol):
    """Plans of object pipelines, the lists of occurrences they point to, and the previews of all pipelines."""

    async def check_in(self, run_id: str, segment_id: str, occurrences: Sequence[Occurrence]) -> ClaimCheck:
        """Keep a segment's occurrences; returns the claim check for them."""
        ...

    async def keep(self, plan: Plan) -> Plan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        ...

    async def find(self, run_id: str) -> Plan | None:
        """The plan of a run, if it was made."""
        ...

    async def show(self, preview: PlanPreview) -> None:
        """Leave what a dry run found where its caller looks for it."""
        ...


class CollectPlans(Protocol):
    """Plans of collecting runs."""

    async def keep(self, plan: CollectPlan) -> CollectPlan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        ...

    async def find(self, run_id: str) -> CollectPlan | None:
        """The plan of a run, if it was made.

        Raises:
            MalformedError: what lies in its place is not one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Collecting:
    """What only collecting runs need."""

    datasets: Datasets
    plans: CollectPlans
    leases: Leases
    owner: str
    """Names this process among all that may hold a lease."""
    lease_ttl_s: float = 60.0
    exclusive_for: timedelta = timedelta(minutes=15)
    """For so long a run has its source to itself; two that overlap are safe, but read the same rows twice."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One slice of a load, before it has a name; ``rows`` is an estimate."""

    slice: Slice
    rows: int


class Entity(Protocol):
    """One entity in its source, as far as a plan needs it.

    Every method raises PermanentError with the source's own words where the entity is not there or may not be read, and
    TemporaryError where the source does not answer; no text ever holds a secret.
    """

    async def describe(self) -> list[EntityField]:
        """Its columns, in the source's order, without those the declaration's types do not cover.

        Raises:
            PermanentError: a declared key, cursor or event date is not among them or has no fitting type.
        """
        ...

    async def ceiling(self, now: datetime) -> datetime:
        """Up to where (exclusive) every change is visible and none can follow any more.

        ``now`` is the planner's time; a source with a clock of its own goes by that one.
        """
        ...

    async def cut(self, start: str, end: str, fields: Sequence[EntityField], *, whole: bool) -> list[Cut]:
        """Slices of the rows from ``start`` to ``end``, balanced by rows; none if there are no rows.

        ``whole``: of the whole entity, with rows that have no cursor.
        """
        ...


class Entities(Protocol):
    """Opens the entity of a pipeline."""

    def of(self, pipeline: Pipeline) -> Entity:
        """The entity that a pipeline's declaration names.

        Raises:
            BadDeclarationError: its declaration stands for a variable that is not set, or for an extra not installed.
        """
        ...


class LoadPlans(Protocol):
    """Plans of loads."""

    async def keep(self, plan: LoadPlan) -> LoadPlan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        ...

    async def find(self, run_id: str) -> LoadPlan | None:
        """The plan of a run, if it was made.

        Raises:
            MalformedError: what lies in its place is not one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Landing:
    """What only loads of entities need."""

    entities: Entities
    plans: LoadPlans
    schemas: EntitySchemas
    leases: Leases
    owner: str
    """Names this process among all that may hold a lease."""
    default_load: LoadType = LoadType.INCREMENTAL
    lease_ttl_s: float = 60.0
    exclusive_for: timedelta = timedelta(minutes=15)
    patience: int = 10
    """A source that does not answer so many times in a row fails its entity, so that the others' run can end."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """What only runs of chunked jobs need."""

    jobs: dict[str, LoadedJob]
    planning: ChunkPlanning
    completion: ChunkCompletion
    leases: Leases
    owner: str
    """Names this process among all that may hold a lease."""
    lease_ttl_s: float = 60.0
    exclusive_for: timedelta = timedelta(minutes=15)
    """A run without a sign of life for so long, and for as long as a statement may take, stands still."""
    patience: int = 10
    """A database that does not answer so many times in a row fails the run."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use cases work with."""

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
    """A segment that waits for its next step this long is announced again; doing that step twice is harmless."""
    collecting: Collecting | None = None
    """None where nothing is collected."""
    landing: Landing | None = None
    """None where no entities are landed."""
    chunked: Chunking | None = None
    """None where there are no chunked jobs."""

    def target_bucket(self, pipeline: Pipeline) -> str:
        """The bucket of a pipeline's output."""
        is_checkpoint = isinstance(pipeline.target, CheckpointTarget)
        own = self.checkpoints_bucket if is_checkpoint else self.processed_bucket
        return pipeline.target.bucket or own

    def tree_of(self, pipeline: Pipeline) -> str:
        """Where all partitions of a collected pipeline, or all parts of an entity, lie, for people."""
        target = pipeline.target
        prefix = target.prefix if isinstance(target, PartitionTarget | BronzeTarget) else ""
        entity = f"{pipeline.entity}/" if isinstance(target, BronzeTarget) else ""
        return f"s3://{self.target_bucket(pipeline)}/{prefix}{entity}"
