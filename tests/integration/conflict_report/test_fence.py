import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.console.demo.home_care import HomeCare, fill
from tests.integration.conflict_report.report_support import (
    FIRST_DAY,
    JOB,
    Chunk,
    count,
    digest,
    mark,
    plan_chunks,
    sql,
    status,
    take_snapshot,
    unfinished,
    update,
)
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"

ROWS = 1_200


@pytest.fixture
async def second(database: Database, connection: Connection) -> AsyncIterator[Connection]:
    """Another worker's connection, to the same tables."""
    assert not connection.is_closed()
    second = await database.connect()
    yield second
    await second.close()


@pytest.fixture
async def chunks(connection: Connection) -> list[Chunk]:
    """A snapshot in chunks of up to 400 rows."""
    await fill(connection, HomeCare(visits=ROWS, first_day=FIRST_DAY))
    await take_snapshot(connection, "run")
    return await plan_chunks(connection, "run", target=400)


async def test_a_stale_holder_changes_nothing(
    connection: Connection, second: Connection, database: Database, chunks: list[Chunk]
) -> None:
    """Who wakes after another has claimed its chunk neither marks nor updates, then or after that one is done."""
    chunk = chunks[0]
    watcher = await database.connect()
    assert await mark(connection, chunk, 1) == chunk.rows
    assert await mark(second, chunk, 2) == 0, "its rows are marked already"
    before = await digest(watcher)
    assert await update(connection, chunk, 1) is None
    assert await mark(connection, chunk, 1) is None
    assert await digest(watcher) == before
    assert await update(second, chunk, 2) == chunk.rows
    after = await digest(watcher)
    assert await update(connection, chunk, 1) is None
    assert await mark(connection, chunk, 1) is None
    assert await digest(watcher) == after
    await watcher.close()


async def test_a_done_chunk_is_not_written_again(connection: Connection, chunks: list[Chunk]) -> None:
    """A job that is delivered again after its chunk was done writes no row, even under a younger token."""
    chunk = chunks[0]
    await mark(connection, chunk, 1)
    await update(connection, chunk, 1)
    versions = 'SELECT sum(("xmin"::text)::bigint) FROM conflictvisitmaps'
    before = await connection.fetchval(versions)
    assert await mark(connection, chunk, 2) is None
    assert await update(connection, chunk, 2) is None
    assert await connection.fetchval(versions) == before
    said = await connection.fetchrow(sql("chunk"), JOB, chunk.run, chunk.id)
    assert (said["state"], said["fencing_token"], said["updated_rows"]) == ("done", 1, chunk.rows)


async def test_a_claim_waits_for_an_update_under_way(
    connection: Connection, second: Connection, chunks: list[Chunk]
) -> None:
    """A new holder that comes while the old one's transaction is open learns what became of it; no row is redone."""
    chunk = chunks[0]
    await mark(connection, chunk, 1)
    transaction = connection.transaction()
    await transaction.start()
    assert await connection.fetchrow(sql("fence"), JOB, chunk.run, chunk.id, 1)
    claiming = asyncio.create_task(mark(second, chunk, 2))
    rows = count(await connection.execute(sql("task_02_chunk"), *chunk.arrays))
    await connection.execute(sql("done"), chunk.run, chunk.id, rows)
    assert not claiming.done()
    await transaction.commit()
    assert await claiming is None


async def test_chunks_of_an_earlier_snapshot_are_refused(connection: Connection, chunks: list[Chunk]) -> None:
    """Once a new run has its snapshot, chunks of the run before neither claim nor update, and nothing stays marked."""
    early, late = chunks[0], chunks[1]
    await mark(connection, early, 1)
    await take_snapshot(connection, "next")
    assert await status(connection) == {"pending": ROWS}
    assert await update(connection, early, 1) is None
    assert await mark(connection, late, 1) is None
    said = await connection.fetchrow(sql("chunk"), JOB, early.run, early.id)
    assert said["snapshot_run"] == "next"


async def test_the_status_is_true_at_every_step(
    connection: Connection, second: Connection, chunks: list[Chunk]
) -> None:
    """Locked, completed and pending rows are counted rightly while chunks run, and after a connection broke."""
    chunk, rest = chunks[0], ROWS - chunks[0].rows
    assert await status(connection) == {"pending": ROWS}
    assert await mark(second, chunk, 1) == chunk.rows
    locked = {"locked": chunk.rows, "pending": rest}
    assert await status(connection) == await status(connection, "status_run") == locked

    transaction = second.transaction()
    await transaction.start()
    await second.fetchrow(sql("fence"), JOB, chunk.run, chunk.id, 1)
    await second.execute(sql("task_02_chunk"), *chunk.arrays)
    assert await status(connection) == locked, "nothing is completed before it is committed"
    second.terminate()

    assert await mark(connection, chunk, 2) == 0, "the next worker finds them marked"
    assert await status(connection) == locked
    assert await connection.fetchval(sql("status_stuck_rows")) == chunk.rows
    stuck = await connection.fetch(sql("status_stuck"), 0.0)
    assert [(row["chunk_id"], row["fencing_token"]) for row in stuck] == [(chunk.id, 2)]
    assert not await connection.fetch(sql("status_stuck"), 3600.0)

    assert await update(connection, chunk, 2) == chunk.rows
    completed = {"completed": chunk.rows, "pending": rest}
    assert await status(connection) == await status(connection, "status_run") == completed
    assert await connection.fetchval(sql("status_stuck_rows")) == 0
    assert await connection.fetchval(sql("status_recent"), 3600.0) == chunk.rows


async def test_a_run_is_over_when_its_last_chunk_is_done(connection: Connection, chunks: list[Chunk]) -> None:
    """The flag that a run is in progress falls with its last chunk; rows of the next run count as pending again."""
    for chunk in chunks:
        assert await unfinished(connection, "run")
        await mark(connection, chunk, 1)
        await update(connection, chunk, 1)
    assert await connection.fetchval('SELECT "InProgressFlag" FROM settings') == 1
    assert not await unfinished(connection, "run")
    await connection.execute(sql("finish"), "run")
    assert await connection.fetchval('SELECT "InProgressFlag" FROM settings') == 0
    await take_snapshot(connection, "next")
    assert await status(connection) == {"completed": ROWS}
    assert await status(connection, "status_run") == {"pending": ROWS}


async def test_a_split_chunk_lives_on_in_its_parts(connection: Connection, chunks: list[Chunk]) -> None:
    """A chunk that was given up is never claimed again, its parts update its rows, and the run ends with them."""
    whole, *others = chunks
    for chunk in others:
        await mark(connection, chunk, 1)
        await update(connection, chunk, 1)
    await mark(connection, whole, 1)
    assert await connection.fetchrow(sql("split"), whole.run, whole.id, 0) is None
    half = len(whole.keys) // 2
    parts = [Chunk("run", "0.1", whole.keys[:half], 0), Chunk("run", "0.2", whole.keys[half:], 0)]
    async with connection.transaction():
        assert await connection.fetchrow(sql("split"), whole.run, whole.id, 1)
        await connection.execute(sql("plan"), "run", [part.id for part in parts], [0, 0])
    assert await mark(connection, whole, 2) is None
    assert await update(connection, whole, 1) is None
    assert await unfinished(connection, "run")
    for part in parts:
        assert await mark(connection, part, 1) == 0, "its rows are marked already"
        await update(connection, part, 1)
    assert await status(connection) == {"completed": ROWS}
    assert not await unfinished(connection, "run")
