"""The planner of a chunked job as one process over a world of fakes."""

from datetime import timedelta

from services.planner.adapters.plans import S3Plans
from services.planner.ports import Chunking
from services.planner.ports import Ports as PlannerPorts
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.completion import Completion
from services.runtime.mirrors import StateMirrors
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.chunk_processes import Way
from tests.unit.chunk_worker.world import World


def planner_of(world: World, effects: Effects, way: Way) -> PlannerPorts:
    """The planner as one process."""
    shared = world.ports(effects)
    watermarks = FakeWatermarks(world.clock, way)
    return PlannerPorts(
        pipelines={},
        raw_bucket="raw",
        checkpoints_bucket="checkpoints",
        processed_bucket="processed",
        objects=world.objects.seen_by(effects),
        plans=S3Plans(world.objects.seen_by(effects), "state"),
        occurrences=FakeOccurrences(),
        checkpoints=FakeCheckpoints(),
        ledger=shared.ledger,
        watermarks=watermarks,
        publisher=shared.publisher,
        completion=Completion(
            shared.ledger, watermarks, shared.publisher, StateMirrors(world.objects.seen_by(effects), world.clock)
        ),
        telemetry=FakeTelemetry(),
        clock=world.clock,
        chunked=Chunking(
            jobs={world.job.name: world.job},
            planning=ChunkPlanning(shared.databases, shared.plans, shared.ledger, shared.chunks, world.clock),
            completion=ChunkCompletion(shared.databases, shared.ledger, shared.chunks, shared.publisher),
            leases=FakeLeases(world.clock, world.leases, way),
            owner="planner",
            exclusive_for=timedelta(seconds=300),
        ),
    )
