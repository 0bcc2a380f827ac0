"""Chunks that cannot be done, and runs that are held, stopped or overtaken: nothing is lost, and nothing done twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise

import asyncpg
import pytest

from contracts.runs import RunState
from services.console.commands.holding import Verb
from services.runtime.chunking.conservation import conserve_chunks
from tests.e2e.chunk_operating import Bench, Listener
from tests.e2e.chunking import QUEUE, TINY, Report
from tests.e2e.fleet import PATIENCE_S, POLL_S, Fleet, WorkerProcess, eventually
from tests.e2e.postgres_proxy import PostgresProxy
from tests.e2e.test_chunk_crashes import THROUGH_PROXY, eventually_empty
from tests.e2e.world import World
from tests.postgres_support import Database

SIZES = {"target_rows": "100", "max_rows": "150", "max_keys": "80"}
TIMEOUT_S = 3
ELSEWHERE = "wrong-password"
DOOR = 815
PART_ROWS = "SELECT updated_rows FROM tidegate_chunks WHERE chunk_id = $1"
REPLACED = "the snapshot is run third's now: run second cannot go on; start a new one"
LEAVES = 'DELETE FROM conflictvisitmaps WHERE "ID" % 9 = 4'
COMES = """
    INSERT INTO conflictvisitmaps ("ID", "SSN", "VisitID", "VisitDate")
    SELECT "ID" + 1000000, "SSN", 'later', "VisitDate" FROM conflictvisitmaps ORDER BY "ID" LIMIT 40
"""
FOREVER = {"TIDEGATE_WORKER_VISIBILITY_S": "300", "TIDEGATE_LEASE_TTL_S": "300"}
"""Nothing comes back by itself within the test."""


@pytest.fixture
async def report(fleet: Fleet, world: World, database: Database) -> AsyncIterator[Report]:
    """A database of the test's own."""
    connection = await database.connect()
    yield Report(world, fleet, database, connection)
    await connection.close()


async def planned(report: Report, change: str | None = None, **declared: str) -> Bench:
    """A run whose chunks wait for a worker."""
    await report.prepare(TINY, change=change, **SIZES, **declared)
    report.fleet.start("planner")
    bench = Bench(report, await report.ask())
    await report.until(bench.run_id, RunState.RUNNING)
    return bench


async def test_a_row_that_refuses_and_a_chunk_that_takes_too_long(report: Report) -> None:
    """Both are tried again and split; the slow one is done in halves, the other waits in the DLQ to be redriven."""
    bench = await planned(report, statement_timeout_s=str(TIMEOUT_S))
    bad, slow, *_ = await bench.splittable()
    row = (await bench.rows(bad))[0]
    await bench.poison(row)
    await bench.slow_down(await bench.rows(slow), 1.2 * TIMEOUT_S)
    await bench.count_attempts(slow, 2)
    worker = report.fleet.start("chunk_worker")
    run = await report.until(bench.run_id, RunState.FAILED)
    assert (run.failed, run.settled) == (1, (run.planned or 0) - 1)
    failed = attempts_of(worker, bad.chunk_id)
    assert [number for number, _ in failed] == [1, 2, 3, 1]
    waited = [(after - before).total_seconds() for (_, before), (_, after) in pairwise(failed)]
    assert [seconds >= least for seconds, least in zip(waited, [2, 4, 8], strict=True)] == [True] * 3
    standings = await bench.standings()
    assert standings[bad.chunk_id][0] == standings[slow.chunk_id][0] == "split"
    assert (standings[f"{bad.chunk_id}.1"][0], standings[f"{bad.chunk_id}.2"][0]) == ("marked", "done")
    assert [number for number, _ in attempts_of(worker, slow.chunk_id)] == [3]
    assert f"not done within {TIMEOUT_S} s" in worker.log.read_text(encoding="utf-8")
    [done_in_halves] = [entry for entry in await report.entries(bench.run_id) if entry.parts]
    assert done_in_halves.chunk_id == slow.chunk_id
    assert run.reason is not None
    assert f"1 of {run.planned} chunks failed: {bad.chunk_id}: part {bad.chunk_id}.1: " in run.reason
    assert "is ever updated" in run.reason
    assert row.ssn is not None
    assert row.ssn not in run.reason + worker.log.read_text(encoding="utf-8")
    assert (await bench.told("dlq", "list"))[QUEUE] == 1
    written = await report.connection.fetchval("SELECT count(*) FROM audit WHERE updated")
    left = len(await bench.rows(bad)) - (await report.connection.fetchval(PART_ROWS, f"{bad.chunk_id}.2"))
    assert written == report.rows - left
    await bench.cure()
    assert (await bench.asked("dlq", "redrive", QUEUE)).code == 0
    await report.until(bench.run_id, RunState.SUCCEEDED)
    await eventually_empty(report)
    await report.check()


async def test_damaged_objects_and_a_run_that_is_resumed(report: Report) -> None:
    """Damaged keys fail their chunk only, and a damaged plan the run's resumption, each with one clear error."""
    bench = await planned(report)
    bad, damaged, *_ = await bench.splittable()
    await bench.poison((await bench.rows(bad))[-1])
    await bench.count_attempts(bad, 3)
    keys = await bench.damage(damaged)
    report.fleet.start("chunk_worker")
    run = await report.until(bench.run_id, RunState.FAILED)
    assert (run.failed, run.settled) == (2, (run.planned or 0) - 2)
    reasons = {entry.chunk_id: entry.reason or "" for entry in await report.entries(bench.run_id) if entry.reason}
    assert "is ever updated" in reasons[bad.chunk_id]
    assert reasons[damaged.chunk_id].endswith(f"is not what the plan of run {bench.run_id} was made with")
    await bench.cure()
    await bench.repair(keys)
    plan = await bench.damage()
    ended = await bench.asked("run", "resume", bench.run_id, "--wait")
    assert ended.code == 1
    assert f"plans/{bench.run_id}/plan.json is not a plan: " in ended.err
    await bench.repair(plan)
    await bench.hold(Verb.RESUME)
    await report.until(bench.run_id, RunState.SUCCEEDED)
    await report.check()


async def test_a_run_that_is_paused_resumed_cancelled_and_resumed(report: Report) -> None:
    """What is under way is finished, nothing else is begun, and each resumption goes on with exactly what is left."""
    bench = await planned(report)
    listener = await Listener.open(report)
    await report.shut()
    report.fleet.start("chunk_worker")
    await report.until_blocked(2)
    await bench.hold(Verb.PAUSE)
    await report.open()
    await eventually_empty(report)
    run = await report.run(bench.run_id)
    assert (run.state, run.paused, run.settled) == (RunState.RUNNING, True, 2)
    assert (await bench.told("status", bench.run_id))["paused"]
    begun = [entry for entry in await report.entries(bench.run_id) if entry.started_at is not None]
    assert len(begun) == 2
    await report.shut()
    await bench.hold(Verb.RESUME)
    await report.until_blocked(2)
    await bench.hold(Verb.CANCEL)
    await report.open()
    await eventually_empty(report)
    run = await report.run(bench.run_id)
    assert (run.state, run.settled) == (RunState.CANCELLED, 4)
    assert await listener.heard() == [("RunFailed", "cancelled by an operator")]
    await bench.hold(Verb.RESUME)
    await report.until(bench.run_id, RunState.SUCCEEDED)
    await report.check()
    assert (await listener.heard())[1:] == [("RunCompleted", str(report.rows))]


async def test_a_worker_that_is_stopped_while_rows_come_and_go(report: Report) -> None:
    """SIGTERM in mid-chunk: nothing was done, nobody is blamed, the message is back; then the balance holds."""
    bench = await planned(report, LEAVES)
    await report.shut()
    worker = report.fleet.start("chunk_worker", TIDEGATE_CHUNK_WORKER_LANES="1", TIDEGATE_GRACE_S="1", **FOREVER)
    await report.until_blocked()
    assert 1 in {attempts for _, attempts in (await bench.standings()).values()}
    worker.terminate()
    assert await worker.ended(15) == 0
    assert (await report.world.waiting(QUEUE))[1] == 0
    standings = await bench.standings()
    assert {attempts for _, attempts in standings.values()} == {0}
    assert not await report.connection.fetchval("SELECT count(*) FROM audit WHERE updated")
    await report.open()
    gone = int((await report.connection.execute(LEAVES)).rpartition(" ")[2])
    await report.connection.execute(COMES)
    report.fleet.start("chunk_worker")
    await report.until(bench.run_id, RunState.SUCCEEDED)
    entries = await report.entries(bench.run_id)
    assert sum(entry.gone for entry in entries) == gone > 0
    assert sum(entry.updated or 0 for entry in entries) == report.rows - gone
    assert conserve_chunks(await report.run(bench.run_id), entries).balanced
    assert await report.connection.execute('DELETE FROM conflictvisitmaps WHERE "ID" > 1000000') == "DELETE 40"
    report.rows -= gone
    await report.check()


async def test_runs_take_turns(report: Report) -> None:
    """The second waits for the first while that works, and overtakes it once it shows no sign of life."""
    first = await planned(report, statement_timeout_s="2", lock_timeout_s="1")
    planner = report.fleet.workers[0]
    await report.ask("second")
    occupied = f"run {first.run_id} of conflict_report has not ended yet"
    await eventually(lambda: occupied in planner.log.read_text(encoding="utf-8"), "the second waits")
    worker = report.fleet.start("chunk_worker")
    await report.until(first.run_id, RunState.SUCCEEDED)
    await report.check()
    worker.kill()
    assert await report.world.session.ledger.run("second") is None
    await report.ask("second")  # once more, because the first request only looks again after a while
    await report.until("second", RunState.RUNNING)
    await report.connection.execute("DELETE FROM audit")
    await has_been_silent(report, "second", 5.0)
    await report.ask("third")
    await report.until("third", RunState.RUNNING)
    overtaken = await report.run("second")
    assert (overtaken.state, overtaken.settled) == (RunState.FAILED, 0)
    assert (overtaken.reason or "").startswith("overtaken by run third: it showed no sign of life")
    report.fleet.start("chunk_worker")
    await report.until("third", RunState.SUCCEEDED)
    await report.check()
    await Bench(report, "second").hold(Verb.RESUME)
    await report.world.until(lambda: told_of(report, "second", "the snapshot is"), "it is refused")
    assert (await report.run("second")).reason == REPLACED
    await eventually_empty(report)
    await report.check()


async def test_a_database_that_refuses_and_one_that_is_away(report: Report, database: Database) -> None:
    """A wrong password fails the chunks in the end, and says so; a database that is away for a while fails nothing."""
    bench = await planned(report)
    secret = database.secret.replace(database.server.password, "wrong-4711")
    await report.keep_secret(secret, ELSEWHERE)
    await bench.receive(3)
    stranger = report.fleet.start("chunk_worker", POSTGRES_SECRET_ARN=ELSEWHERE)
    run = await report.until(bench.run_id, RunState.FAILED)
    assert (run.failed, run.settled) == (run.planned, 0)
    assert "password authentication failed" in (run.reason or "")
    assert "wrong-4711" not in (run.reason or "") + stranger.log.read_text(encoding="utf-8")
    stranger.kill()
    async with PostgresProxy(database.secret) as proxy:
        away = proxy.secret
    await report.keep_secret(away, THROUGH_PROXY)
    patient = report.fleet.start("chunk_worker", POSTGRES_SECRET_ARN=THROUGH_PROXY)
    await bench.hold(Verb.RESUME)
    await eventually(lambda: len(patient.lines("not done")) >= (run.planned or 0), "each chunk was received")
    assert {line["kind"] for line in patient.lines("not done")} == {"TemporaryError"}
    found = await report.run(bench.run_id)
    assert (found.state, found.failed, found.settled) == (RunState.RUNNING, 0, 0)
    assert {attempts for _, attempts in (await bench.standings()).values()} == {0}
    await report.keep_secret(database.secret, THROUGH_PROXY)
    patient.kill()
    report.fleet.start("chunk_worker", POSTGRES_SECRET_ARN=THROUGH_PROXY)
    chunks = (await bench.plan()).chunks
    await report.send(bench.run_id, [chunk.chunk_id for chunk in chunks])
    await report.until(bench.run_id, RunState.SUCCEEDED)
    await report.check()


async def test_a_database_where_many_wait_for_a_lock(report: Report, database: Database) -> None:
    """Chunks are held back without blame, lease or work on a connection, and go on when nobody waits any more."""
    bench = await planned(report, lock_waits="1")
    await report.connection.execute(f"SELECT pg_advisory_lock({DOOR})")
    waiting = [await database.connect() for _ in range(3)]
    queued = [asyncio.ensure_future(each.execute(f"SELECT pg_advisory_lock_shared({DOOR})")) for each in waiting]
    await until_waiting(report.connection, len(waiting))
    worker = report.fleet.start("chunk_worker", TIDEGATE_CHUNK_CONNECTIONS="1")
    plan = await bench.plan()
    await eventually(lambda: len(worker.lines("not done")) >= len(plan.chunks), "every chunk was held back")
    for line in worker.lines("not done"):
        assert "is held back: 3 sessions wait for a lock, and the limit is 1" in line["error"]
    assert {attempts for _, attempts in (await bench.standings()).values()} == {0}
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidegate' AND datname = current_database()"
    assert await report.connection.fetchval(query) == 1
    await report.connection.execute(f"SELECT pg_advisory_unlock({DOOR})")
    await asyncio.gather(*queued)
    for each in waiting:
        await each.close()
    await report.until(bench.run_id, RunState.SUCCEEDED)
    await eventually_empty(report)
    await report.check()


async def until_waiting(connection: "asyncpg.Connection[asyncpg.Record]", sessions: int) -> None:
    """Wait until so many sessions wait for a lock."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
    while await connection.fetchval(query) < sessions:
        assert asyncio.get_running_loop().time() < deadline, "nobody waits"
        await asyncio.sleep(POLL_S)


async def told_of(report: Report, run_id: str, words: str) -> bool:
    """Whether a run's reason has these words."""
    return words in ((await report.run(run_id)).reason or "")


async def has_been_silent(report: Report, run_id: str, seconds: float) -> None:
    """Wait until a run has shown no sign of life for so long."""
    signs = [(await report.run(run_id)).started_at, *(each.updated_at for each in await report.entries(run_id))]
    since = (report.world.session.clock.now() - datetime.fromisoformat(max(signs))).total_seconds()
    await asyncio.sleep(max(0.0, seconds - since) + POLL_S)


def attempts_of(worker: WorkerProcess, chunk_id: str) -> list[tuple[int, datetime]]:
    """The attempts at a chunk, or at parts of it, that failed, and when that was."""
    return [
        (line["attempt"], datetime.fromisoformat(line["timestamp"]))
        for line in worker.lines("attempt failed")
        if line["chunk_id"] == chunk_id
    ]
