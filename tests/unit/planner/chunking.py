"""A planner over fakes with three chunked jobs; the chunk workers reduced to what both ledgers hear of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from contracts.chunk_jobs import ChunkJob
from contracts.chunks import ChunkOutcome, ChunkPlan, ProcessChunk
from contracts.envelope import Message, Payload
from contracts.plans import PlanPreview
from contracts.runs import PlanRun, RunState
from services.planner.adapters.plans import S3Plans
from services.planner.ports import Chunking, Ports
from services.planner.use_case.batch import plan_batch
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import KeyRows
from services.runtime.completion import Completion
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Run
from services.runtime.mirrors import StateMirrors
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.table_world import Mortal
from tests.unit.planner.job_tables import Databases, Tables

CHUNKS = "chunk-jobs"
REPORT, ARCHIVE, BLIND = "report", "archive", "blind"
THREE = [("r1", "0"), ("r1", "1"), ("r1", "2")]
"""The commands of a run ``r1`` of three chunks."""


def job(name: str, *, statement_timeout_s: int = 300, **sql: Any) -> LoadedJob:
    """A job with chunks of up to 10 rows; only what its declaration says matters here."""
    document = {
        "name": name,
        "database": {"secret": "s", "statement_timeout_s": statement_timeout_s},
        "keys": {"customer_id": {"type": "bigint"}},
        "chunks": {"target_rows": 10, "max_rows": 20, "max_keys": 5},
        "window": {"lookback_years": 1, "lookahead_days": 30},
        "sql": {"distribution": "d.sql", "process": "p.sql"} | sql,
    }
    return LoadedJob(ChunkJob.parse(document, where=name), {})


PREPARED: dict[str, Any] = {"prepare": [{"file": "s.sql"}]}
PREVIEWED: dict[str, Any] = PREPARED | {"preview": {"file": "v.sql", "given": ["first_day", "last_day"]}}


@dataclass
class World:
    """One deployment."""

    jobs: list[LoadedJob] = field(
        default_factory=lambda: [job(REPORT, **PREVIEWED), job(ARCHIVE), job(BLIND, **PREPARED)]
    )
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.tables = Tables()
        self.objects = FakeObjects({"state": False}, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.chunks = FakeChunkLedger.of(self.ledger)
        self.publisher = FakePublisher(self.clock)
        self.leases = LeaseTable()

    def keys(self, *rows: int) -> None:
        """What there is to work on: keys with so many rows."""
        self.tables.live = [KeyRows((str(n),), count) for n, count in enumerate(rows)]

    def planner(self, effects: Effects | None = None) -> Ports:
        """The planner as one process."""
        effects = effects or Effects()
        objects, ledger = self.objects.seen_by(effects), self.ledger.seen_by(effects)
        publisher, chunks = self.publisher.seen_by(effects), self.chunks.seen_by(effects)
        watermarks, databases = FakeWatermarks(self.clock, Mortal(effects)), Databases(self.tables, effects)
        return Ports(
            pipelines={},
            raw_bucket="raw",
            checkpoints_bucket="checkpoints",
            processed_bucket="processed",
            objects=objects,
            plans=S3Plans(objects, "state"),
            occurrences=FakeOccurrences(),
            checkpoints=FakeCheckpoints(),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(ledger, watermarks, publisher, StateMirrors(objects, self.clock)),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            chunked=Chunking(
                jobs={each.name: each for each in self.jobs},
                planning=ChunkPlanning(databases, StoredChunkPlans(objects, "state"), ledger, chunks, self.clock),
                completion=ChunkCompletion(databases, ledger, chunks, publisher),
                leases=FakeLeases(self.clock, self.leases, Mortal(effects)),
                owner="planner",
            ),
        )

    async def deliver(self, payload: Payload, *, receives: int = 1, effects: Effects | None = None) -> Outcome:
        """Hand a request to a planner."""
        message = Message.wrap(payload, message_id=UUID(int=1), run_id="operator", occurred_at=self.clock.now())
        return await plan_batch(self.planner(effects), [Delivery("d", message.model_dump_json(), receives)])

    async def plan(self, run_id: str, *, receives: int = 1, **more: Any) -> Run:
        """Hand over a request that must be done with; the run afterwards."""
        outcome = await self.deliver(request(run_id, **more), receives=receives)
        assert not outcome.failed, outcome.reasons
        return self.run(run_id)

    async def preview(self, name: str = REPORT, *, receives: int = 1, **more: Any) -> PlanPreview:
        """What a dry run shows."""
        payload = PlanRun(pipeline=name, run_id="dry", dry_run=True, **more)
        outcome = await self.deliver(payload, receives=receives)
        assert not outcome.failed, outcome.reasons
        return PlanPreview.model_validate_json((await self.objects.get("state", "plans/dry/preview.json")).body)

    def run(self, run_id: str) -> Run:
        """A run of the ledger."""
        return self.ledger.table.runs[run_id]

    def kept(self, run_id: str) -> ChunkPlan:
        """The plan in the state bucket."""
        stored = self.objects.buckets["state"].current(f"plans/{run_id}/plan.json")
        assert stored is not None, f"{run_id} has no plan"
        return ChunkPlan.model_validate_json(stored.body)

    def commands(self) -> list[tuple[str, str]]:
        """What waits for the chunk workers, as (run, chunk), in order."""
        opened = [ProcessChunk.model_validate(message.body) for message in self.publisher.commands(CHUNKS)]
        return [(each.run_id, each.chunk_id) for each in opened]

    async def work(self, *, failing: Sequence[str] = ()) -> None:
        """Carry out everything that waits; chunks of runs that ended or are paused are dropped."""
        waiting = dict.fromkeys(self.commands())
        self.publisher.sent[CHUNKS].clear()
        for run_id, chunk_id in waiting:
            run = self.run(run_id)
            if run.state in {RunState.PLANNING, RunState.RUNNING} and not run.paused:
                await self.carry_out(run, chunk_id, fails=chunk_id in failing)

    async def carry_out(self, run: Run, chunk_id: str, *, fails: bool = False) -> None:
        """One chunk, to its end."""
        assert self.tables.owner == run.run_id, "the database refuses chunks of other runs"
        rows = self.tables.registered[run.run_id, chunk_id]
        if fails:
            await self.chunks.chunk_failed(run.run_id, chunk_id, "division by zero")
        else:
            outcome = ChunkOutcome(chunk_id=chunk_id, run_id=run.run_id, rows=rows)
            await self.chunks.chunk_done(run.run_id, chunk_id, outcome)
        loaded = next(each for each in self.jobs if each.name == run.pipeline)
        tools = self.planner().chunked
        assert tools is not None
        await tools.completion.complete(loaded, run.run_id)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """What was announced of one kind, each once."""
        found = {message.dedup_id: message.body for message in self.publisher.announced() if message.kind == kind}
        return list(found.values())


def request(run_id: str, name: str = REPORT, **more: Any) -> PlanRun:
    """A request for a run of a job."""
    return PlanRun(pipeline=name, run_id=run_id, **more)


def three_chunks(world: World | None = None) -> World:
    """A world whose next run has three chunks."""
    world = world or World()
    world.keys(10, 10, 10)
    return world
