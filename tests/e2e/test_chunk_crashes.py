"""Chunk workers that die, sleep, are cut off or asked twice: each row is completed once, with the right values.

What must come of the table is computed in one statement before the run; a trigger notes every update of every row.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.runs import RunState
from tests.e2e.chunking import QUEUE, Report
from tests.e2e.fleet import PATIENCE_S, POLL_S, Fleet, WorkerProcess, eventually
from tests.e2e.postgres_proxy import PostgresProxy
from tests.e2e.world import World
from tests.postgres_support import Database, PostgresServer

THROUGH_PROXY = "through-proxy"
FENCE = "First of the updating transaction"
DONE = "Last of the updating transaction"


@pytest.fixture
async def report(fleet: Fleet, world: World, database: Database) -> AsyncIterator[Report]:
    """Visits in a database of the test's own."""
    connection = await database.connect()
    report = Report(world, fleet, database, connection)
    await report.prepare()
    yield report
    await connection.close()


async def test_a_run_from_request_to_success(report: Report) -> None:
    """Planner and two workers: the table is that of the one statement, and the status queries told the truth."""
    report.fleet.start("planner")
    report.fleet.start("chunk_worker")
    report.fleet.start("chunk_worker")
    async with report.sampled() as samples:
        run_id = await report.ask()
        run = await report.until(run_id, RunState.SUCCEEDED)
    await report.check()
    assert not report.wrong
    assert max(samples) > 0, "nobody was seen at work"
    assert run.planned == run.settled == len(await report.entries(run_id)) > 8
    assert await report.connection.fetchval('SELECT "InProgressFlag" FROM settings') == 0
    await eventually_empty(report)


async def test_a_finished_plan_writes_nothing(report: Report) -> None:
    """The same request, a resumption of it and all of its chunks once more: no row is touched, no run fails."""
    report.fleet.start("planner")
    report.fleet.start("chunk_worker")
    run_id = await report.ask()
    await report.until(run_id, RunState.SUCCEEDED)
    before = await report.connection.fetchval("SELECT count(*) FROM audit")
    await report.ask(run_id)
    await report.ask(run_id, resume=True)
    await report.send(run_id, [entry.chunk_id for entry in await report.entries(run_id)])
    await eventually_empty(report)
    assert await report.connection.fetchval("SELECT count(*) FROM audit") == before
    assert (await report.run(run_id)).state is RunState.SUCCEEDED
    await report.check()


async def test_workers_that_are_killed_in_mid_chunk(report: Report) -> None:
    """Killed between marking and commit, twice: its rows are seen as locked until the next worker completes them."""
    report.fleet.start("planner")
    async with report.sampled() as samples:
        run_id = await report.ask()
        for _ in range(2):
            await report.shut()
            worker = report.fleet.start("chunk_worker")
            await report.until_blocked()
            worker.kill()
            await report.open()
            await asyncio.to_thread(samples.clear)
        await eventually(lambda: len(samples) > 1, "the status is looked at while nobody works")
        assert samples[-1] > 0, "what the dead worker had marked is locked"
        report.fleet.start("chunk_worker")
        await report.until(run_id, RunState.SUCCEEDED)
    assert not report.wrong
    await report.check()


async def test_a_worker_that_sleeps_longer_than_its_lease(report: Report) -> None:
    """SIGSTOP in the updating transaction: the server ends it, another does the chunk, the sleeper does nothing."""
    report.fleet.start("planner")
    await report.shut()
    sleeper = report.fleet.start("chunk_worker")
    run_id = await report.ask()
    await report.until_blocked()
    sleeper.pause()
    await report.open()
    report.fleet.start("chunk_worker")
    await report.until(run_id, RunState.SUCCEEDED)
    await report.check()
    sleeper.resume()
    await eventually_empty(report)
    await report.check()
    assert sleeper.is_alive


async def test_a_worker_that_sleeps_before_its_update(report: Report, database: Database) -> None:
    """SIGSTOP between the two transactions: when it wakes, the fence refuses it."""
    async with PostgresProxy(database.secret) as proxy:
        sleeper = await _behind(report, proxy)
        held = proxy.breaks("hold", FENCE)
        run_id = await report.ask()
        await held.happens()
        sleeper.pause()
        report.fleet.start("chunk_worker")
        await report.until(run_id, RunState.SUCCEEDED)
        await report.check()
        sleeper.resume()
        held.release()
        await eventually_empty(report)
    await report.check()


@pytest.mark.parametrize("action", ["lose", "cut"])
async def test_a_connection_that_is_lost_at_commit(report: Report, database: Database, action: str) -> None:
    """Whether the commit arrived or not: the worker does not know, and the chunk's effect is there once."""
    async with PostgresProxy(database.secret) as proxy:
        await _behind(report, proxy)
        broken = [proxy.breaks("lose" if action == "lose" else "cut", "COMMIT", after=DONE) for _ in range(3)]
        run_id = await report.ask()
        await report.until(run_id, RunState.SUCCEEDED)
        assert all(each.taken for each in broken)
    await report.check()


async def test_a_server_that_restarts_in_mid_chunk(fleet: Fleet, world: World, tmp_path: Path) -> None:
    """PostgreSQL is stopped while two workers update, and comes back: the run goes on by itself."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = PostgresServer(folder)
    server.start()
    try:
        database = server.new_database()
        report = Report(world, fleet, database, await database.connect())
        await report.prepare()
        fleet.start("planner")
        await report.shut()
        fleet.start("chunk_worker")
        fleet.start("chunk_worker")
        run_id = await report.ask()
        await report.until_blocked(2)
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        report.connection = await database.connect()
        await report.until(run_id, RunState.SUCCEEDED)
        await report.check()
        await report.connection.close()
    finally:
        fleet.kill_all()
        server.stop()
        server.remove()


async def test_three_workers_on_one_chunk(report: Report) -> None:
    """Every chunk is delivered three times, to three workers at once: one of them has it, and it is done once."""
    report.fleet.start("planner")
    run_id = await report.ask()
    await report.until(run_id, RunState.RUNNING)
    chunk_ids = [entry.chunk_id for entry in await report.entries(run_id)]
    for _ in range(2):
        await report.send(run_id, chunk_ids)
    await report.shut()
    for _ in range(3):
        report.fleet.start("chunk_worker", TIDEGATE_CHUNK_WORKER_LANES="1")
    await report.until_blocked(2)
    assert await report.connection.fetchval("SELECT max(attempts) FROM tidegate_chunks") == 1, "two have claimed one"
    await report.open()
    await report.until(run_id, RunState.SUCCEEDED)
    await eventually_empty(report)
    await report.check()


async def test_a_password_that_was_rotated(report: Report, database: Database) -> None:
    """A worker whose password is refused reads the secret anew and goes on; no log ever shows either."""
    report.fleet.start("planner")
    run_id = await report.ask()
    await report.until(run_id, RunState.RUNNING)
    old, new = "old-secret-4711", "new-secret-4711"
    database.run("CREATE ROLE chunks LOGIN SUPERUSER PASSWORD 'old-secret-4711'")
    await report.keep_secret(_as(database, "chunks", old))
    await report.shut()
    report.fleet.start("chunk_worker")
    blocked = await report.until_blocked()
    database.run("ALTER ROLE chunks PASSWORD 'new-secret-4711'")
    await report.keep_secret(_as(database, "chunks", new))
    for pid in blocked:
        await report.connection.fetchval("SELECT pg_terminate_backend($1)", pid)
    await report.open()
    await report.until(run_id, RunState.SUCCEEDED)
    await report.check()
    logs = "".join(worker.log.read_text(encoding="utf-8") for worker in report.fleet.workers)
    assert old not in logs
    assert new not in logs


async def test_never_more_connections_than_configured(report: Report) -> None:
    """Two workers with many lanes and one connection each: the server never sees a third, at work or idle."""
    report.fleet.start("planner")
    for _ in range(2):
        report.fleet.start("chunk_worker", TIDEGATE_CHUNK_WORKER_LANES="6", TIDEGATE_CHUNK_CONNECTIONS="1")
    run_id = await report.ask()
    await report.until(run_id, RunState.RUNNING)
    most = 0
    query = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidegate'
    """
    while (await report.run(run_id)).state is RunState.RUNNING:
        most = max(most, await report.connection.fetchval(query))
    assert 0 < most <= 2
    await report.check()


async def _behind(report: Report, proxy: PostgresProxy) -> WorkerProcess:
    """A planner with the database's own address, and a worker that reaches it through a proxy."""
    await report.keep_secret(proxy.secret, THROUGH_PROXY)
    report.fleet.start("planner")
    return report.fleet.start("chunk_worker", POSTGRES_SECRET_ARN=THROUGH_PROXY, TIDEGATE_CHUNK_WORKER_LANES="1")


def _as(database: Database, user: str, password: str) -> str:
    document = json.loads(database.secret)
    return json.dumps(document | {"username": user, "password": password})


async def eventually_empty(report: Report) -> None:
    """Wait until no chunk waits or is worked on, and none reached the dead-letter queue."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while await report.waits():
        assert asyncio.get_running_loop().time() < deadline, "chunks are left"
        await asyncio.sleep(POLL_S)
    assert await report.waits(f"{QUEUE}-dlq") == 0
