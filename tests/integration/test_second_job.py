"""The job that the documentation declares, carried out by real processes that are killed: two statements make a job."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from contracts.runs import PlanRun, RunState
from services.console.session import PLAN_QUEUE, Session, open_session
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT
from tests.e2e.fleet import PATIENCE_S, POLL_S, Fleet
from tests.emulator_support import Stack
from tests.integration.test_documented_chunks import FILE, ORDERS, TABLES
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"

JOB = "archive_orders"
OLD = 858
GATE = """
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN NEW;
END $$
"""
TRIGGER = "CREATE TRIGGER pass_gate BEFORE INSERT ON archived_orders FOR EACH ROW EXECUTE FUNCTION pass_gate()"


@pytest.fixture
def fleet(stack: Stack, tmp_path: Path) -> Iterator[Fleet]:
    """Workers that know the documented job, and nothing else."""
    fleet = Fleet(stack, tmp_path)
    for name, text in FILE.findall((PROJECT / "docs" / "chunks.md").read_text(encoding="utf-8")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    job = tmp_path / "pipelines" / JOB / "job.toml"
    job.write_text(job.read_text(encoding="utf-8") + "\n[chunks]\ntarget_rows = 100\n", encoding="utf-8")
    fleet.settings |= {
        "TIDEGATE_PIPELINES": str(tmp_path / "pipelines"),
        "TIDEGATE_LEASE_TTL_S": "4",
        "TIDEGATE_WORKER_VISIBILITY_S": "4",
    }
    yield fleet
    fleet.kill_all()
    sys.stdout.write(fleet.story())  # shown when the test failed
    assert not fleet.defects()


@pytest.fixture
async def session(stack: Stack, database: Database) -> AsyncIterator[Session]:
    """An operator, and a database of orders whose secret is kept."""
    assert stack.environ["TIDEGATE_STACK"]
    database.run(TABLES, ORDERS, "CREATE TABLE archived_orders (LIKE orders)", GATE, TRIGGER)
    async with open_session() as session:
        await session.clients.secretsmanager.create_secret(Name="shop-postgres", SecretString=database.secret)
        yield session


async def test_orders_are_archived_once(fleet: Fleet, session: Session, database: Database) -> None:
    """A worker is killed between its statement and the commit: every old order is archived once, and no other is."""
    connection = await database.connect()
    before = await everything(connection)
    await connection.execute("SELECT pg_advisory_lock(4711)")
    fleet.start("planner")
    first = fleet.start("chunk_worker")
    await session.publisher.send(PLAN_QUEUE, [PlanRun(pipeline=JOB, run_id="r1")], run_id="r1")
    await until_at_gate(connection, 2)
    first.kill()
    await connection.execute("SELECT pg_advisory_unlock(4711)")
    fleet.start("chunk_worker")
    run = await until_succeeded(session, "r1")
    assert (run.planned, run.settled, run.failed) == (10, 10, 0)
    archived = [row["id"] for row in await connection.fetch("SELECT id FROM archived_orders")]
    assert len(archived) == len(set(archived)) == OLD
    assert await everything(connection) == before
    left = "SELECT count(*) FROM orders WHERE ordered_at < date_trunc('year', now())"
    assert await connection.fetchval(left) == 0
    found = await connection.fetch("SELECT state, attempts FROM tidegate_chunks WHERE run_id = 'r1'")
    assert sorted((row["state"], row["attempts"]) for row in found) == [("done", 1)] * 8 + [("done", 2)] * 2
    await connection.close()


async def everything(connection: Connection) -> list[int]:
    """Orders, wherever they are."""
    rows = await connection.fetch("SELECT id FROM orders UNION ALL SELECT id FROM archived_orders ORDER BY id")
    return [row["id"] for row in rows]


async def until_at_gate(connection: Connection, workers: int) -> None:
    """Wait until so many transactions have deleted orders and stand before the archive."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while await connection.fetchval(query) < workers:
        assert asyncio.get_running_loop().time() < deadline, "nobody archives"
        await asyncio.sleep(POLL_S)


async def until_succeeded(session: Session, run_id: str) -> Run:
    """Wait for the end of a run."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while (run := await session.ledger.run(run_id)) is None or run.state is not RunState.SUCCEEDED:
        assert asyncio.get_running_loop().time() < deadline, run
        await asyncio.sleep(POLL_S)
    return run
