"""The job that the documentation declares, taken from its text and carried out on PostgreSQL."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.chunks import ChunkOutcome, ChunkPayload, ChunkPlan
from contracts.runs import RunState
from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Work
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import AnalyticsSource
from services.runtime.failures import PermanentError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.settings import PROJECT
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.clock import ManualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.secrets import FakeSecrets
from tests.postgres_support import Database

FILE = re.compile(r"^`(pipelines/[^`]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLES = """
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint,
    ordered_at timestamptz NOT NULL,
    UNIQUE (customer_id, id)
)
"""
ORDERS = """
INSERT INTO orders (customer_id, ordered_at)
SELECT 1 + number % 40, date_trunc('year', now()) + make_interval(days => CASE WHEN number % 7 = 0 THEN 0 ELSE -3 END)
FROM generate_series(1, 1000) AS number
"""


class NoAnalytics:
    """``AnalyticsSources`` of a job that declares none."""

    def of(self, job: LoadedJob) -> AnalyticsSource:
        """See the port."""
        raise NotImplementedError(job.name)


class Shop:
    """A shop with a thousand orders, most of them of an earlier year, and one process that works through a job."""

    def __init__(self, job: LoadedJob, database: Database, tables: PostgresChunkTables, access: PostgresAccess) -> None:
        clock = ManualClock()
        databases = PostgresJobDatabases(access, NoAnalytics())
        self.job = job
        self.database = database
        self.tables = tables
        self.ledger = FakeLedger(clock)
        self.chunks = FakeChunkLedger.of(self.ledger)
        self.plans = StoredChunkPlans(FakeObjects({"state": False}), "state")
        self.planning = ChunkPlanning(databases, self.plans, self.ledger, self.chunks, clock)
        self.completion = ChunkCompletion(databases, self.ledger, self.chunks, FakePublisher(clock))

    async def plan(self, run_id: str) -> ChunkPlan:
        """Plan a run with small chunks."""
        await self.planning.open(self.job, run_id)
        await self.planning.prepare(self.job, run_id, ChunkPayload())
        return await self.planning.plan(self.job, run_id, ChunkPayload(target_rows=100))

    async def work_through(self, plan: ChunkPlan) -> RunState | None:
        """Bring each chunk of a run to its end, and then the run."""
        for chunk in plan.chunks:
            keys = None if chunk.sha256 is None else await self.plans.keys(plan.run_id, chunk.sha256)
            work = Work(self.job, plan.run_id, chunk.chunk_id, 1, chunk.rows, keys)
            assert await self.tables.claim(work, mark=False) is not None
            updated = await self.tables.update(work)
            assert updated is not None
            outcome = ChunkOutcome(chunk_id=chunk.chunk_id, run_id=plan.run_id, rows=updated.rows)
            await self.chunks.chunk_done(plan.run_id, chunk.chunk_id, outcome, gone=updated.gone)
        return await self.completion.complete(self.job, plan.run_id)

    async def count(self) -> tuple[int, int, int]:
        """Orders of this year and of earlier ones, and archived orders."""
        connection = await self.database.connect()
        try:
            old = "SELECT count(*) FILTER (WHERE ordered_at < date_trunc('year', now())), count(*) FROM orders"
            (early, all_), archived = (
                await connection.fetchrow(old),
                await connection.fetchval("SELECT count(DISTINCT id) FROM archived_orders"),
            )
        finally:
            await connection.close()
        return all_ - early, early, archived


@pytest.fixture
async def shop(database: Database, tmp_path: Path) -> AsyncIterator[Shop]:
    """The documented job in a folder, and its tables in a database."""
    for name, text in FILE.findall((PROJECT / "docs" / "chunks.md").read_text(encoding="utf-8")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    job = load_jobs(tmp_path / "pipelines", {})["archive_orders"]
    database.run(TABLES, ORDERS, "CREATE TABLE archived_orders (LIKE orders)")
    secrets = FakeSecrets(ManualClock())
    secrets.stored[job.job.database.secret] = database.secret
    access = PostgresAccess(secrets)
    async with PostgresChunkTables(access, connections=1) as tables:
        yield Shop(job, database, tables, access)


async def test_the_documented_job_works(shop: Shop) -> None:
    """Every old order is in the archive, once, and no other is; the next run has nothing to do."""
    assert await shop.count() == (142, 858, 0)
    plan = await shop.plan("r1")
    assert (plan.rows, plan.keys, len(plan.chunks)) == (858, 40, 10)
    assert await shop.work_through(plan) is RunState.SUCCEEDED
    assert await shop.count() == (142, 0, 858)
    again = await shop.plan("r2")
    assert again.chunks == []
    assert await shop.work_through(again) is RunState.SUCCEEDED
    assert await shop.count() == (142, 0, 858)


async def test_rows_that_nobody_accounts_for_stop_the_documented_job(shop: Shop) -> None:
    """An order that is deleted between plan and work fails its chunk, as the text says, and nothing is archived."""
    plan = await shop.plan("r1")
    shop.database.run("DELETE FROM orders WHERE ordered_at < date_trunc('year', now()) AND customer_id = 2")
    with pytest.raises(PermanentError, match="22 rows unaccounted for"):
        await shop.work_through(plan)
    assert await shop.count() == (142, 836, 0)
