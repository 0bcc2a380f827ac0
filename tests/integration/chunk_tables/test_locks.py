"""What an update that is under way keeps waiting: whoever claims its chunk, and whoever takes the next snapshot."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Updated, Work
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.integration.chunk_tables.tables_support import TEXTS, WINDOW, job_of, until, younger
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"
GATE = "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(4711)) "
BEHIND_A_GATE = GATE + TEXTS["process.sql"].replace("FROM unnest", "FROM gate, unnest")
WAITING = "SELECT count(DISTINCT pid) >= {} FROM pg_locks WHERE NOT granted"


@pytest.fixture
def gated(work: Work) -> Work:
    """The chunk, of a job whose update stands before a gate when it has passed the fence and touched no row yet."""
    return replace(work, job=job_of(texts={"process.sql": BEHIND_A_GATE}))


@pytest.fixture
async def second(database: Database) -> AsyncIterator[Connection]:
    """Whoever holds the gate."""
    connection = await database.connect()
    await connection.execute("SELECT pg_advisory_lock(4711)")
    yield connection
    await connection.close()


async def test_a_claim_waits_for_an_update_under_way(
    tables: PostgresChunkTables, watcher: Connection, second: Connection, gated: Work
) -> None:
    """A younger holder learns what became of it: the chunk is done, and nobody works on it again."""
    assert await tables.claim(gated, mark=False)
    refused = await meanwhile(tables, watcher, second, gated, lambda: tables.claim(younger(gated), mark=False))
    assert refused is None
    assert await tables.update(younger(gated)) is None
    assert await watcher.fetch("SELECT DISTINCT worked FROM items") == [(1,)]


async def test_a_snapshot_waits_for_an_update_under_way(
    databases: PostgresJobDatabases, tables: PostgresChunkTables, watcher: Connection, second: Connection, gated: Work
) -> None:
    """The next run's snapshot is taken when the update is over, and never in the midst of it."""
    assert await tables.claim(gated, mark=False)
    # Without statements, which would wait for the rows or tables that the update has touched.
    database = databases.of(job_of(sql={"prepare": None}))
    assert await meanwhile(tables, watcher, second, gated, lambda: database.prepare("next", WINDOW))
    assert (await tables.standing(gated.job, gated.run_id, gated.chunk_id)).snapshot_run == "next"


async def meanwhile(
    tables: PostgresChunkTables,
    watcher: Connection,
    second: Connection,
    gated: Work,
    comes: Callable[[], Awaitable[object]],
) -> object:
    """Let something come while the update stands before the gate; it must wait until that is over. Its answer."""
    updating = asyncio.ensure_future(tables.update(gated))
    await until(watcher, WAITING.format(1))
    coming = asyncio.ensure_future(comes())
    waits = asyncio.ensure_future(until(watcher, WAITING.format(2)))
    await asyncio.wait({coming, waits}, return_when=asyncio.FIRST_COMPLETED)
    was_early = coming.done()
    waits.cancel()
    await second.execute("SELECT pg_advisory_unlock(4711)")
    assert await updating == Updated(10)
    answer = await coming
    assert not was_early, "it did not wait"
    return answer
