"""Planner, validator and merger as processes that live for one batch, each with a line of its own to the world."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters.plans import S3Plans
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.batch import plan_batch
from services.runtime.completion import Completion
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.mirrors import StateMirrors
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.watermarks import FakeWatermarks
from tests.property.event_log_world import (
    PIPELINE,
    PIPELINES,
    QUARANTINE,
    STATE,
    VALIDATED,
    World,
)
from tests.property.world.faults import Line

SMALL = PIPELINES | {
    PIPELINE.name: PIPELINE.model_copy(update={"limits": PIPELINE.limits.model_copy(update={"objects_per_segment": 3})})
}
"""Segments so small that a handful of files makes several."""


class Mutation:
    """Bends one mechanism of a process; this one bends nothing."""

    def validator(self, ports: ValidatorPorts) -> ValidatorPorts:
        """The ports of a validator."""
        return ports

    def merger(self, ports: MergerPorts) -> MergerPorts:
        """The ports of a merger."""
        return ports


@dataclass
class Tables:
    """What DynamoDB holds."""

    ledger: FakeLedger
    checkpoints: FakeCheckpoints
    occurrences: FakeOccurrences
    watermarks: FakeWatermarks
    leases: LeaseTable = field(default_factory=LeaseTable)


class Processes(World):
    """The world, reached by processes that may be bent and may die."""

    def __init__(self, mutation: Mutation | None = None) -> None:
        super().__init__()
        self.losses = 0
        self._mutation = mutation or Mutation()
        self.tables = Tables(self.ledger, self.checkpoints, FakeOccurrences(), FakeWatermarks(self.clock))

    def lose_tables(self) -> None:
        """Everything DynamoDB knew is gone; objects and messages stay."""
        self.losses += 1
        ledger, checkpoints = self.tables.ledger.table, self.tables.checkpoints.table
        for lost in (
            ledger.runs,
            ledger.segments,
            ledger.counted,
            ledger.blocked,
            ledger.stamps,
            checkpoints.heads,
            checkpoints.commits,
            checkpoints.names,
            checkpoints.epochs,
            self.tables.occurrences.marks,
            self.tables.watermarks.records,
            self.tables.leases.records,
        ):
            lost.clear()

    async def plans(self, line: Line, batch: Sequence[Delivery]) -> Outcome:
        """A planner handles a batch."""
        effects = Effects(network=line)
        ledger, watermarks, publisher = self._reached_over(line, effects)
        objects = self.objects.seen_by(effects)
        ports: PlannerPorts = replace(
            self.planner,
            pipelines=SMALL,
            objects=objects,
            plans=S3Plans(objects, STATE),
            occurrences=self.tables.occurrences.seen_by(effects),
            checkpoints=self.tables.checkpoints.seen_by(effects),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(ledger, watermarks, publisher, StateMirrors(objects, self.clock)),
        )
        return await plan_batch(ports, batch)

    async def validates(self, line: Line, batch: Sequence[Delivery]) -> Outcome:
        """A validator handles a batch."""
        effects = Effects(network=line)
        objects = self.objects.seen_by(effects)
        ports: ValidatorPorts = replace(
            self.validator,
            pipelines=SMALL,
            reader=FakeBulkReader(objects),
            claims=S3Claims(objects),
            segments=ParquetSegments(objects, VALIDATED, QUARANTINE),
            ledger=self.tables.ledger.seen_by(effects),
        )
        return await validate_batch(self._mutation.validator(ports), batch)

    async def merges(self, line: Line, batch: Sequence[Delivery]) -> Outcome:
        """A merger handles a batch."""
        effects = Effects(network=line)
        ledger, watermarks, publisher = self._reached_over(line, effects)
        objects = self.objects.seen_by(effects)
        ports: MergerPorts = replace(
            self.merger,
            pipelines=SMALL,
            segments=ParquetSegmentReader(objects),
            strategy=Rewrite(objects),
            keys=S3TableKeys(objects, self.tables.checkpoints.seen_by(effects)),
            manifests=S3Manifests(objects, STATE),
            objects=objects,
            checkpoints=self.tables.checkpoints.seen_by(effects),
            occurrences=self.tables.occurrences.seen_by(effects),
            leases=FakeLeases(self.clock, self.tables.leases, line),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(ledger, watermarks, publisher, StateMirrors(objects, self.clock)),
        )
        return await merge_batch(self._mutation.merger(ports), batch)

    def _reached_over(self, line: Line, effects: Effects) -> tuple[FakeLedger, FakeWatermarks, FakePublisher]:
        watermarks = FakeWatermarks(self.clock, line)
        watermarks.records = self.tables.watermarks.records
        return self.tables.ledger.seen_by(effects), watermarks, self.publisher.seen_by(effects)
