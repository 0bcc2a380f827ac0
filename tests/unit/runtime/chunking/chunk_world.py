"""One chunked job and everything that planning and ending its runs need, in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from contracts.chunk_jobs import ChunkJob, ChunkSizes, JobDatabase, JobStatements, KeyColumn
from contracts.chunks import ChunkOutcome, ChunkPayload, ChunkPlan, PlannedChunk
from contracts.runs import RunState
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import KeyRows, Window
from services.runtime.failures import TidegateError
from services.runtime.ledger import Run
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher

DAY_S = 86_400.0
NOTHING = ChunkPayload()


def job_of(sizes: ChunkSizes | None = None) -> LoadedJob:
    """A job whose keys are a date and a text."""
    declared = ChunkJob(
        name="report",
        database=JobDatabase(secret="report-postgres"),  # noqa: S106 - the name of a secret, not the secret
        keys={"day": KeyColumn(type="date"), "ssn": KeyColumn(type="text")},
        chunks=sizes or ChunkSizes(target_rows=10, max_rows=20, max_keys=3),
        sql=JobStatements(distribution="distribution.sql", process="process.sql"),
    )
    return LoadedJob(declared, {"distribution.sql": "SELECT", "process.sql": "UPDATE"})


def keys_of(*rows: int) -> list[KeyRows]:
    """A key for each number of rows; the second one's text is NULL."""
    return [KeyRows(("2026-01-01", None if place == 1 else f"s{place}"), each) for place, each in enumerate(rows)]


@dataclass
class Tables:
    """What the job's database holds: the rows as they are, the snapshot of some run, and the chunks of runs."""

    rows: list[KeyRows] = field(default_factory=list)
    snapshot: list[KeyRows] = field(default_factory=list)
    snapshot_run: str | None = None
    windows: list[Window] = field(default_factory=list)
    chunks: dict[str, dict[str, int]] = field(default_factory=dict)
    retried: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    refuses: TidegateError | None = None
    """What the job's finish comes to."""


class Database:
    """``JobDatabase`` and ``JobDatabases`` over tables in memory."""

    def __init__(self, tables: Tables, effects: Effects) -> None:
        self.tables = tables
        self.effects = effects

    def of(self, job: LoadedJob) -> "Database":
        """See ``JobDatabases``."""
        assert job.name == "report"
        return self

    async def prepare(self, run_id: str, window: Window) -> bool:
        """See ``JobDatabase``."""

        def take() -> bool:
            if self.tables.snapshot_run == run_id:
                return False
            self.tables.snapshot_run, self.tables.snapshot = run_id, list(self.tables.rows)
            self.tables.windows.append(window)
            return True

        return await self.effects.perform(f"prepare {run_id}", take)

    async def present_run(self) -> str | None:
        """See ``JobDatabase``."""
        return self.tables.snapshot_run

    async def distribution(self) -> AsyncIterator[KeyRows]:
        """See ``JobDatabase``."""
        for key in self.tables.snapshot:
            yield key

    async def preview(self, window: Window) -> AsyncIterator[KeyRows]:
        """See ``JobDatabase``."""
        assert window.first_day <= window.last_day
        for key in self.tables.rows:
            yield key

    async def register(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See ``JobDatabase``."""

        def enter() -> None:
            held = self.tables.chunks.setdefault(run_id, {})
            for chunk in chunks:
                held.setdefault(chunk.chunk_id, chunk.rows)

        await self.effects.perform(f"register {run_id}", enter)

    async def retry(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """See ``JobDatabase``."""
        await self.effects.perform(f"retry {run_id}", lambda: self.tables.retried.append((run_id, tuple(chunk_ids))))

    async def finish(self, run_id: str) -> None:
        """See ``JobDatabase``."""
        if self.tables.refuses is not None:
            raise self.tables.refuses
        await self.effects.perform(f"finish {run_id}", lambda: self.tables.finished.append(run_id))


class World:
    """The job, what it works on, and one process at a time that plans and ends its runs."""

    def __init__(self, *rows: int, sizes: ChunkSizes | None = None) -> None:
        self.job = job_of(sizes)
        self.clock = ManualClock()
        self.tables = Tables(rows=keys_of(*rows))
        self.objects = FakeObjects({"state": False}, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.process()

    def process(self, effects: Effects | None = None) -> None:
        """From now on another process does the work."""
        self.effects = effects or Effects()
        ledger = self.ledger.seen_by(self.effects)
        self.database = Database(self.tables, self.effects)
        self.plans = StoredChunkPlans(self.objects.seen_by(self.effects), "state")
        self.chunks = FakeChunkLedger.of(ledger)
        self.planning = ChunkPlanning(self.database, self.plans, ledger, self.chunks, self.clock)
        self.completion = ChunkCompletion(self.database, ledger, self.chunks, self.publisher.seen_by(self.effects))

    async def plan(self, payload: ChunkPayload = NOTHING, *, run_id: str = "r1", whole: bool = False) -> None:
        """Open, prepare and plan a run, as every door does."""
        await self.planning.open(self.job, run_id)
        await self.planning.prepare(self.job, run_id, payload)
        await self.planning.plan(self.job, run_id, payload, whole=whole)

    async def run(self, run_id: str = "r1") -> Run:
        """A run that must exist."""
        found = await self.ledger.run(run_id)
        assert found is not None
        return found

    async def done(self, chunk_id: str, *, updated: int | None = None, gone: int = 0) -> None:
        """Enter a chunk as done, with as many rows as it was planned with unless told otherwise."""
        entry = await self.chunks.chunk("r1", chunk_id)
        assert entry is not None
        rows = entry.rows if updated is None else updated
        await self.chunks.chunk_done("r1", chunk_id, ChunkOutcome(chunk_id=chunk_id, run_id="r1", rows=rows), gone=gone)

    async def complete(self) -> RunState | None:
        """Try to end run r1."""
        return await self.completion.complete(self.job, "r1")

    async def keys(self, plan: ChunkPlan) -> list[KeyRows]:
        """The keys of a plan's chunks, one after the other."""
        found = []
        for chunk in plan.chunks:
            assert chunk.sha256 is not None
            kept = await self.plans.keys(plan.run_id, chunk.sha256)
            found += [
                KeyRows(tuple(column[place] for column in kept.values), rows) for place, rows in enumerate(kept.rows)
            ]
        return found

    def facts(self) -> list[str]:
        """Kinds of the facts announced, each once, in order."""
        return list(dict.fromkeys(message.kind for message in self.publisher.announced()))

    def end(self, state: RunState, run_id: str = "r1") -> None:
        """Give a run a state, whatever it was."""
        self.ledger.table.runs[run_id] = replace(self.ledger.table.runs[run_id], state=state)
