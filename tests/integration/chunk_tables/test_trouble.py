import asyncio
import json
import time
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import ChunkTimeoutError, Claimed, TableState, Updated, Work
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.fakes.secrets import FakeSecrets
from tests.integration.chunk_tables.tables_support import BLOCKED, RUN, SECRET, WINDOW, job_of, until, younger
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"

OURS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidegate'"
ALL_ENDED = f"SELECT count(pg_terminate_backend(pid, 5000)) {OURS}"
SLEEPING = f"SELECT count(*) > 0 {OURS} AND wait_event = 'PgSleep'"
DATABASE = "SELECT quote_ident(current_database())"
SLEEPY = "UPDATE items SET worked = worked + 1 FROM pg_sleep(30) WHERE k = ANY ($1::text[])"


async def test_a_zombie_changes_nothing_after_a_younger_claim(
    access: PostgresAccess, tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Who wakes after another has claimed its chunk neither updates nor splits; the younger holder is not disturbed."""
    async with PostgresChunkTables(access, connections=1) as others:
        await tables.claim(work, mark=True)
        await others.claim(younger(work), mark=True)
        assert await tables.update(work) is None
        assert not await tables.split(work, [("0.1", 10)])
        assert await others.update(younger(work)) == Updated(10)
        assert await tables.update(work) is None
    assert await watcher.fetch("SELECT DISTINCT worked, locked FROM items") == [(1, None)]


async def test_a_claim_waits_for_an_update_under_way(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """A new holder that comes while the old one's update is open learns that the chunk is done."""
    await tables.claim(work, mark=False)
    transaction = watcher.transaction()
    await transaction.start()
    await watcher.execute("LOCK TABLE items")
    updating = asyncio.create_task(tables.update(work))
    await until(watcher, BLOCKED)
    claiming = asyncio.create_task(tables.claim(younger(work), mark=True))
    await until(watcher, "SELECT count(*) > 1 FROM pg_locks WHERE NOT granted")
    await transaction.rollback()
    assert await updating == Updated(10)
    assert await claiming is None


async def test_a_connection_killed_before_its_commit_leaves_nothing(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """The worker hears that the server broke off, the rows are as before, and the next try works."""
    await tables.claim(work, mark=False)
    updating = asyncio.create_task(tables.update(replace(work, job=job_of(texts={"process.sql": SLEEPY}))))
    await until(watcher, SLEEPING)
    await watcher.execute(ALL_ENDED)
    with pytest.raises(TemporaryError, match=r"process\.sql: (terminating connection|connection was closed)"):
        await updating
    assert (await tables.standing(work.job, RUN, "0")).state is TableState.MARKED
    assert await tables.update(work) == Updated(10)


async def test_a_commit_whose_answer_is_lost_is_told_by_the_standing(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """A connection that dies after COMMIT and before its answer: whoever asks finds the chunk done, and rows once."""
    await tables.claim(work, mark=False)
    # A server that waits for a replica in vain has committed, and can be interrupted before it says so.
    await watcher.execute("SET synchronous_commit = local")
    await watcher.execute(f"ALTER DATABASE {await watcher.fetchval(DATABASE)} SET synchronous_commit = on")
    await watcher.execute(ALL_ENDED)
    try:
        await watcher.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await watcher.execute("SELECT pg_reload_conf()")
        updating = asyncio.create_task(tables.update(work))
        await until(watcher, f"SELECT count(*) > 0 {OURS} AND wait_event = 'SyncRep'")
        await watcher.execute(ALL_ENDED)
        with pytest.raises(TemporaryError, match="COMMIT: "):
            await updating
    finally:
        await watcher.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await watcher.execute("SELECT pg_reload_conf()")
    assert (await tables.standing(work.job, RUN, "0")).state is TableState.DONE
    assert await tables.claim(younger(work), mark=True) is None
    assert await watcher.fetch("SELECT DISTINCT worked FROM items") == [(1,)]


async def test_idle_connections_that_the_server_ended_are_replaced(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """A restart between two chunks is not noticed by the second."""
    await tables.claim(work, mark=False)
    await watcher.execute(ALL_ENDED)
    assert await tables.update(work) == Updated(10)


async def test_a_statement_that_takes_too_long_is_stopped(tables: PostgresChunkTables, work: Work) -> None:
    """It is the chunk's fault, unlike a query that somebody cancels; both leave nothing behind."""
    await tables.claim(work, mark=False)
    slow = job_of(texts={"process.sql": SLEEPY, "mark.sql": SLEEPY}, database={"statement_timeout_s": 1})
    with pytest.raises(ChunkTimeoutError, match=r"process\.sql: not done within 1 s"):
        await tables.update(replace(work, job=slow))
    with pytest.raises(ChunkTimeoutError, match=r"mark\.sql: not done within 1 s"):
        await tables.claim(replace(work, job=slow), mark=True)
    assert await tables.claim(work, mark=False) == Claimed(3)
    assert await tables.update(work) == Updated(10)


async def test_a_query_that_somebody_cancels_comes_again(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """An administrator who stops a statement does not blame the chunk."""
    await tables.claim(work, mark=False)
    updating = asyncio.create_task(tables.update(replace(work, job=job_of(texts={"process.sql": SLEEPY}))))
    await until(watcher, SLEEPING)
    await watcher.execute(f"SELECT pg_cancel_backend(pid) {OURS}")
    with pytest.raises(TemporaryError, match=r"process\.sql: canceling statement due to user request"):
        await updating


async def test_a_lock_that_is_not_to_be_had_is_nobodys_fault(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Who waits too long for a lock gives its own back and comes again later."""
    impatient = replace(work, job=job_of(database={"lock_timeout_s": 1}))
    await tables.claim(work, mark=False)
    async with watcher.transaction():
        await watcher.execute("LOCK TABLE items")
        for step in (tables.update(impatient), tables.claim(impatient, mark=True)):
            with pytest.raises(TemporaryError, match="lock timeout"):
                await step
    assert (await tables.standing(work.job, RUN, "0")).attempts == 1
    assert await tables.update(work) == Updated(10)


async def test_a_worker_that_falls_silent_is_ended(
    access: PostgresAccess, tables: PostgresChunkTables, work: Work
) -> None:
    """A transaction whose worker sleeps does not hold up its successor for longer than the job says."""
    job = job_of(database={"idle_timeout_s": 1})
    await tables.claim(work, mark=False)
    async with PostgresChunkTables(access, connections=1) as others:

        async def dawdle() -> None:
            async with others._writing(job) as session:
                assert await session.own("fence", job.name, RUN, "0", 1)
                assert await tables.claim(younger(work), mark=False) == Claimed(2)
                await session.own("done", RUN, "0", 10)

        with pytest.raises(TemporaryError):
            await dawdle()


async def test_a_cancelled_call_ends_its_transaction_at_once(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """A worker that has lost its lease stops the server's work too, and its locks are free when the call has ended."""
    await tables.claim(work, mark=False)
    updating = asyncio.create_task(tables.update(replace(work, job=job_of(texts={"process.sql": SLEEPY}))))
    await until(watcher, SLEEPING)
    began = time.monotonic()
    updating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await updating
    assert not await watcher.fetchval(SLEEPING)
    assert await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert time.monotonic() - began < 2
    assert await tables.update(work) == Updated(10)


async def test_never_more_connections_than_allowed(access: PostgresAccess, watcher: Connection, work: Work) -> None:
    """Many chunks at once, of two databases by name, cancelled ones among them, share the connections there are."""
    job = job_of(chunks={"concurrency": 100})
    works = [replace(work, job=job, chunk_id=f"{number}") for number in range(30)]
    most = 0

    async def run(tables: PostgresChunkTables, mine: Work) -> None:
        await tables.claim(mine, mark=True)
        await tables.health(mine.job)
        await tables.update(mine)

    async with PostgresChunkTables(access, connections=2) as tables:
        running = [asyncio.create_task(run(tables, each)) for each in works]
        while not all(task.done() for task in running):
            most = max(most, await watcher.fetchval(f"SELECT count(*) {OURS}"))
        assert not [task.exception() for task in running if task.exception()]
    assert most == 2
    await until(watcher, f"SELECT count(*) = 0 {OURS}")


async def test_planning_and_ending_count_among_the_connections(
    access: PostgresAccess, watcher: Connection, work: Work
) -> None:
    """Whatever else a worker does in the database takes the place of an idle connection, or waits for one."""
    most = 0
    async with PostgresChunkTables(access, connections=2) as tables:
        database = PostgresJobDatabases(access, AnalyticsByKind({}), tables.alone).of(work.job)

        async def plan() -> None:
            assert len([key async for key in database.distribution()]) == 4
            await database.finish(RUN)

        await asyncio.gather(*(tables.health(work.job) for _ in range(2)))
        running: list[asyncio.Task[Any]] = [asyncio.create_task(plan()) for _ in range(4)]
        running += [asyncio.create_task(database.prepare(f"run-{number}", WINDOW)) for number in range(2)]
        running += [asyncio.create_task(tables.claim(work, mark=True)) for _ in range(4)]
        while not all(task.done() for task in running):
            most = max(most, await watcher.fetchval(f"SELECT count(*) {OURS}"))
        assert not [task.exception() for task in running if task.exception()]
    assert most == 2
    await until(watcher, f"SELECT count(*) = 0 {OURS}")


async def test_connections_are_shared_between_databases(
    access: PostgresAccess, secrets: FakeSecrets, watcher: Connection, work: Work
) -> None:
    """An idle connection to one database makes room for one to another."""
    secrets.stored["other"] = secrets.stored[SECRET]
    other = job_of(database={"secret": "other"})
    async with PostgresChunkTables(access, connections=1) as tables:
        for _ in range(3):
            await tables.check(work.job)
            await tables.check(other)
        await until(watcher, f"SELECT count(*) = 1 {OURS}")


async def test_a_rotated_password_is_read_anew(
    access: PostgresAccess, secrets: FakeSecrets, database: Database, watcher: Connection, work: Work
) -> None:
    """Whoever rotates a password does not wait for a cache; a wrong one is refused and not shown."""
    role = f"rotated_{database.name}"
    await watcher.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'first'")
    document = {**json.loads(database.secret), "username": role, "password": "stale-and-wrong"}
    secrets.stored[SECRET] = json.dumps(document)
    await secrets.read(SECRET, fresh=True)
    async with PostgresChunkTables(access, connections=1) as tables:
        with pytest.raises(PermanentError, match="password authentication failed") as caught:
            await tables.check(work.job)
        assert "stale-and-wrong" not in str(caught.value)
        secrets.stored[SECRET] = json.dumps({**document, "password": "first"})
        assert role in await tables.check(work.job)
    await until(watcher, f"SELECT count(*) = 0 {OURS}")
    await watcher.execute(f"DROP ROLE {role}")


async def test_a_server_that_does_not_answer_is_asked_again_later(access: PostgresAccess, secrets: FakeSecrets) -> None:
    """It is nobody's fault, and the connection's place is free again."""
    secrets.stored[SECRET] = json.dumps(
        {"host": "127.0.0.1", "port": 1, "database": "d", "username": "u", "password": "p"}
    )
    async with PostgresChunkTables(access, connections=1) as tables:
        for _ in range(2):
            with pytest.raises(TemporaryError, match="connect to 127"):
                await tables.check(job_of())
