"""What only the planner needs from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from contracts.envelope import ClaimCheck
from contracts.pipelines import PartitionTarget, Pipeline
from contracts.plans import CollectPlan, PlanPreview
from contracts.segments import Occurrence
from services.planner.core.scan import Plan
from services.runtime.checkpoints import Checkpoints
from services.runtime.clock import Clock
from services.runtime.completion import Completion
from services.runtime.datasets import Datasets
from services.runtime.leases import Leases
from services.runtime.ledger import Ledger
from services.runtime.objects import ObjectStore
from services.runtime.occurrences import Occurrences
from services.runtime.publishing import Publisher
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
    """None where only objects are planned."""

    def target_bucket(self, pipeline: Pipeline) -> str:
        """The bucket of a pipeline's output."""
        own = self.processed_bucket if isinstance(pipeline.target, PartitionTarget) else self.checkpoints_bucket
        return pipeline.target.bucket or own

    def tree_of(self, pipeline: Pipeline) -> str:
        """Where all partitions of a collected pipeline lie, for people."""
        prefix = pipeline.target.prefix if isinstance(pipeline.target, PartitionTarget) else ""
        return f"s3://{self.target_bucket(pipeline)}/{prefix}"
