import asyncio
from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Claimed, NoSlotError, Standing, TableState, Updated, Work
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.failures import PermanentError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.integration.chunk_tables.tables_support import BLOCKED, RUN, WINDOW, job_of, until, younger

Connection: TypeAlias = "asyncpg.Connection[Any]"


async def test_a_chunk_is_claimed_marked_updated_and_done(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Each step says what it did, people see which rows are worked on, and the ledger says where the chunk stands."""
    assert await tables.standing(work.job, RUN, "0") == Standing(TableState.PLANNED, 0, 0, None, RUN)
    assert await tables.claim(work, mark=True) == Claimed(attempts=1, marked=10)
    assert await watcher.fetchval("SELECT count(*) FROM items WHERE locked") == 10
    assert await tables.standing(work.job, RUN, "0") == Standing(TableState.MARKED, 1, 1, None, RUN)
    assert await tables.update(work) == Updated(rows=10, gone=0)
    assert await tables.standing(work.job, RUN, "0") == Standing(TableState.DONE, 1, 1, 10, RUN)
    assert await watcher.fetchval("SELECT count(*) FROM items WHERE worked = 1 AND locked IS NULL") == 10


async def test_a_claim_without_marking_touches_no_row(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """A chunk that will not take long is not shown to people, nor is one of a job that has nothing to show."""
    assert await tables.claim(work, mark=False) == Claimed(attempts=1, marked=0)
    plain = job_of(sql={"mark": None})
    assert await tables.claim(replace(work, job=plain), mark=True) == Claimed(attempts=2, marked=0)
    assert await watcher.fetchval("SELECT count(*) FROM items WHERE locked") == 0


async def test_tokens_only_grow(tables: PostgresChunkTables, work: Work) -> None:
    """A younger token takes a chunk over, the same one may ask again, an older one is refused from then on."""
    second = younger(work)
    assert await tables.claim(second, mark=False) == Claimed(1)
    assert await tables.claim(second, mark=False) == Claimed(2)
    assert await tables.claim(work, mark=True) is None
    assert await tables.update(work) is None
    assert not await tables.split(work, [("0.1", 5), ("0.2", 5)])
    await tables.blameless(work)
    assert (await tables.standing(work.job, RUN, "0")).attempts == 2
    assert await tables.claim(younger(second), mark=False) == Claimed(3)
    assert await tables.update(second) is None


async def test_what_is_done_is_refused(tables: PostgresChunkTables, watcher: Connection, work: Work) -> None:
    """A done chunk is not claimed, updated, split or blamed again, whatever token comes."""
    await tables.claim(work, mark=False)
    await tables.update(work)
    for again in (work, younger(work)):
        assert await tables.claim(again, mark=True) is None
        assert await tables.update(again) is None
        assert not await tables.split(again, [("0.1", 5)])
        await tables.blameless(again)
    assert await tables.standing(work.job, RUN, "0") == Standing(TableState.DONE, 1, 1, 10, RUN)
    assert await watcher.fetchval("SELECT max(worked) FROM items") == 1


async def test_an_update_without_a_claim_is_refused(tables: PostgresChunkTables, work: Work) -> None:
    """Nobody works on rows that are not theirs."""
    assert await tables.update(work) is None
    assert not await tables.split(work, [("0.1", 5)])


async def test_chunks_of_another_snapshot_are_refused(
    tables: PostgresChunkTables, databases: PostgresJobDatabases, watcher: Connection, work: Work
) -> None:
    """Once the next run has its snapshot, chunks of the run before are neither claimed nor updated."""
    await tables.claim(work, mark=False)
    assert await databases.of(work.job).prepare("next", WINDOW)
    assert await tables.update(work) is None
    assert await tables.claim(younger(work), mark=True) is None
    assert (await tables.standing(work.job, RUN, "0")).snapshot_run == "next"
    assert await watcher.fetchval("SELECT max(worked) FROM items") == 0


async def test_where_no_job_has_ever_run_nothing_is_claimed(tables: PostgresChunkTables, job: LoadedJob) -> None:
    """A message for a database that was made anew is refused as any other stale one."""
    assert await tables.claim(Work(job, RUN, "0", 1, 1, None), mark=False) is None
    assert await tables.standing(job, RUN, "0") == Standing(None, 0, 0, None, None)


async def test_an_unregistered_chunk_is_unknown_until_it_is_claimed(tables: PostgresChunkTables, work: Work) -> None:
    """The snapshot is known although the chunk is not."""
    assert await tables.standing(work.job, RUN, "7") == Standing(None, 0, 0, None, RUN)
    assert await tables.claim(replace(work, chunk_id="7"), mark=False) == Claimed(1)


async def test_of_two_workers_that_race_one_does_the_chunk(
    access: PostgresAccess, watcher: Connection, work: Work
) -> None:
    """However two holders interleave, rows are worked on once, and the younger holder is never undone by the older."""

    async def run(tables: PostgresChunkTables, mine: Work) -> Updated | None:
        claimed = await tables.claim(mine, mark=mine.token % 2 == 0)
        return None if claimed is None else await tables.update(mine)

    async with PostgresChunkTables(access, connections=1) as one, PostgresChunkTables(access, connections=1) as two:
        for attempt in range(20):
            mine = replace(work, chunk_id=f"race {attempt}", token=attempt + 1)
            outcomes = await asyncio.gather(run(one, mine), run(two, younger(mine)))
            assert [outcome for outcome in outcomes if outcome is not None] == [Updated(10)]
            assert await watcher.fetch("SELECT DISTINCT worked FROM items") == [(attempt + 1,)]


async def test_a_split_chunk_lives_on_in_its_parts(
    tables: PostgresChunkTables, databases: PostgresJobDatabases, work: Work
) -> None:
    """Parts are planned with the split or not at all, and do the work of the chunk, which is refused from then on."""
    await tables.claim(work, mark=False)
    with pytest.raises(PermanentError, match=r"chunk_sql/plan\.sql"):
        await tables.split(work, [("0.1", 5), ("0.2", 2**70)])
    assert (await tables.standing(work.job, RUN, "0")).state is TableState.MARKED
    assert await tables.split(work, [("0.1", 5), ("0.2", 5)])
    assert not await tables.split(work, [("0.1", 5), ("0.2", 5)])
    assert (await tables.standing(work.job, RUN, "0")).state is TableState.SPLIT
    assert (await tables.standing(work.job, RUN, "0.2")).state is TableState.PLANNED
    assert await tables.claim(younger(work), mark=False) is None
    part = replace(work, chunk_id="0.1")
    await tables.claim(part, mark=False)
    with pytest.raises(PermanentError, match=r"more rows than there are: 5 planned, 10 updated, 0 gone"):
        await tables.update(part)
    database = databases.of(work.job)
    assert (await tables.standing(work.job, RUN, "0.1")).state is TableState.MARKED
    assert (await tables.standing(work.job, RUN, "0.1")).attempts == 1
    await database.retry(RUN, ["0"])
    assert (await tables.standing(work.job, RUN, "0.1")).attempts == 0


async def test_a_blameless_end_does_not_count(tables: PostgresChunkTables, work: Work) -> None:
    """An attempt that was cut short is given back, and never more than there were."""
    await tables.claim(work, mark=False)
    await tables.blameless(work)
    await tables.blameless(work)
    assert (await tables.standing(work.job, RUN, "0")).attempts == 0
    assert await tables.claim(younger(work), mark=False) == Claimed(1)


async def test_a_claim_counts_although_marking_fails(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Rows that cannot be marked are an attempt like any other failure, lest they be tried for ever."""
    broken = job_of(texts={"mark.sql": "UPDATE items SET locked = 1 / (id - id) = 1 WHERE k = ANY ($1::text[])"})
    with pytest.raises(PermanentError, match=r"mark\.sql: division by zero"):
        await tables.claim(replace(work, job=broken), mark=True)
    assert (await tables.standing(work.job, RUN, "0")).attempts == 1
    assert await watcher.fetchval("SELECT count(*) FROM items WHERE locked") == 0
    assert await tables.update(work) == Updated(10)


async def test_only_so_many_chunks_are_updated_at_once(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Who finds no slot free comes back later and has changed nothing; the slot is free when the other one ends."""
    job = job_of(chunks={"concurrency": 1})
    one, two = (replace(work, job=job, chunk_id=name) for name in "12")
    for each in (one, two):
        await tables.claim(each, mark=False)
    async with watcher.transaction():
        await watcher.execute("LOCK TABLE items")
        first = asyncio.create_task(tables.update(one))
        await until(watcher, BLOCKED)
        with pytest.raises(NoSlotError, match="1 chunks are being updated, which is all it may") as caught:
            await tables.update(two)
        assert caught.value.delay == 1.0
    assert await first == Updated(10)
    assert await tables.update(two) == Updated(10)
