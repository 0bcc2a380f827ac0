from dataclasses import replace
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import TableState, Updated, Work
from services.runtime.failures import BadDeclarationError, PermanentError
from tests.integration.chunk_tables.tables_support import RUN, job_of

Connection: TypeAlias = "asyncpg.Connection[Any]"


@pytest.fixture
async def claimed(tables: PostgresChunkTables, work: Work) -> Work:
    """A chunk that is ours."""
    await tables.claim(work, mark=True)
    return work


async def untouched(tables: PostgresChunkTables, watcher: Connection, work: Work) -> bool:
    """Whether nothing of an update is left."""
    state = (await tables.standing(work.job, RUN, work.chunk_id)).state
    return state is TableState.MARKED and await watcher.fetchval("SELECT max(worked) FROM items") == 0


async def test_rows_deleted_meanwhile_are_accounted_for(
    tables: PostgresChunkTables, watcher: Connection, claimed: Work
) -> None:
    """What people delete between the snapshot and the update is gone, and said to be."""
    await watcher.execute("DELETE FROM items WHERE id IN (3, 4)")
    assert await tables.update(claimed) == Updated(rows=8, gone=2)
    assert (await tables.standing(claimed.job, RUN, "0")).updated_rows == 8


async def test_rows_unaccounted_for_undo_the_update(
    tables: PostgresChunkTables, watcher: Connection, claimed: Work
) -> None:
    """Rows that are neither updated nor gone are a defect of somebody's statement, and nothing is kept of it."""
    some = job_of(texts={"process.sql": "UPDATE items SET worked = 9 WHERE k = ANY ($1::text[])"})
    with pytest.raises(PermanentError, match="2 rows unaccounted for: 10 were planned, 8 updated, and 0 are gone"):
        await tables.update(replace(claimed, job=some))
    assert await untouched(tables, watcher, claimed)
    no_gone = job_of(texts={"process.sql": some.text("process.sql")}, sql={"gone": None})
    with pytest.raises(PermanentError, match="2 rows unaccounted for"):
        await tables.update(replace(claimed, job=no_gone))
    assert await untouched(tables, watcher, claimed)


async def test_more_rows_than_planned_are_fine_only_where_they_may_come(
    tables: PostgresChunkTables, watcher: Connection, claimed: Work
) -> None:
    """A job that can tell what is gone works on a snapshot, where no row can come; another one may work on tables."""
    await watcher.execute("INSERT INTO items SELECT 100, 'secret-1'; INSERT INTO copied SELECT 100, 'secret-1'")
    with pytest.raises(PermanentError, match="more rows than there are: 10 planned, 11 updated, 0 gone"):
        await tables.update(claimed)
    assert await untouched(tables, watcher, claimed)
    assert await tables.update(replace(claimed, job=job_of(sql={"gone": None}))) == Updated(11)
    standing = await tables.standing(claimed.job, RUN, "0")
    assert (standing.state, standing.updated_rows) == (TableState.DONE, 11)


async def test_a_run_in_one_piece_accounts_for_its_rows_too(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """Without keys, deleted rows are counted key by key, a few at a time; it is never marked."""
    job = job_of(chunks={"max_keys": 3})
    whole = replace(work, job=job, chunk_id="whole", keys=None)
    claim = await tables.claim(whole, mark=True)
    assert claim is not None
    assert claim.marked == 0
    await watcher.execute("DELETE FROM items WHERE id IN (1, 4, 7)")
    assert await tables.update(whole) == Updated(rows=7, gone=3)
    in_parts = replace(whole, job=job_of(sql={"whole": None}), chunk_id="another")
    await tables.claim(in_parts, mark=False)
    with pytest.raises(BadDeclarationError, match=r"items declares no sql\.whole"):
        await tables.update(in_parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("UPDATE nowhere SET a = $1::text[]", 'process.sql: relation "nowhere" does not exist'),
        ("UPDATE items SET worked = 1 WHERE k = ANY ($2::text[]) AND $1 > 1", "process.sql: the server expects 2 arg"),
        ("UPDATE items SET worked = k::int WHERE k = ANY ($1::text[])", 'invalid input syntax for type integer: "…"'),
        ("SELECT set_config('a.b', $1::text[]::text, true)", "rows unaccounted for"),
        ("UPDATE items SET worked = 1 WHERE ARRAY[k] = $1::bytea[]::text[]", "a type that its value is none of"),
        ("UPDATE items SET id = 7 WHERE k = ANY ($1::text[])", 'violates unique constraint "items_pkey"$'),
        ("CREATE TABLE nothing AS SELECT 1 WHERE false; SELECT $1::text[]", "multiple commands"),
        ("TRUNCATE items", "expects 0 arguments"),
    ],
)  # fmt: skip
async def test_what_the_server_refuses_is_said_with_the_file_and_without_values(
    tables: PostgresChunkTables, watcher: Connection, claimed: Work, text: str, said: str
) -> None:
    """A statement that is wrong, or finds data it cannot work on, is named; nothing is kept, no key is shown."""
    broken = replace(claimed, job=job_of(texts={"process.sql": text}))
    with pytest.raises(PermanentError, match=said.replace("(", r"\(")) as caught:
        await tables.update(broken)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret-" not in str(error)
        error = error.__cause__
    assert await untouched(tables, watcher, claimed)
    assert await tables.update(claimed) == Updated(10)


async def test_values_in_the_words_of_a_function_are_not_shown(tables: PostgresChunkTables, claimed: Work) -> None:
    """What a job's own function says about a key is told without the key."""
    text = "UPDATE items SET worked = raised(k) WHERE k = ANY ($1::text[])"
    setup = """
        CREATE FUNCTION raised(text) RETURNS integer LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'caregiver % is unknown', $1; END $$
    """
    job = job_of(texts={"process.sql": text, "setup.sql": setup})
    await tables.claim(claimed, mark=False)
    async with tables._sessions.of(job) as session:
        await session.script("setup.sql", setup)
    with pytest.raises(PermanentError, match=r"process\.sql: caregiver … is unknown"):
        await tables.update(replace(claimed, job=job))


async def test_a_statement_that_ends_the_transaction_is_refused(
    tables: PostgresChunkTables, watcher: Connection, claimed: Work
) -> None:
    """What a job declares never commits half of a step."""
    job = job_of(texts={"whole.sql": "COMMIT"}, sql={"gone": None})
    with pytest.raises(PermanentError, match="may not end it"):
        await tables.update(replace(claimed, job=job, keys=None))
    assert await untouched(tables, watcher, claimed)


async def test_says_what_the_database_is_and_how_it_does(
    tables: PostgresChunkTables, watcher: Connection, work: Work
) -> None:
    """People learn the version and who asks; the health has the waiting sessions and the share of dead rows."""
    assert (await tables.check(work.job)).startswith("PostgreSQL ")
    assert "as postgres" in await tables.check(work.job)
    health = await tables.health(work.job)
    assert (health.replication_lag_s, health.lock_waits, health.dead_tuple_ratio) == (None, 0, None)
    await watcher.execute("DELETE FROM items WHERE id < 6; SELECT pg_stat_force_next_flush()")
    job = job_of(health={"tables": ["items", "nowhere"], "dead_tuple_ratio": 0.9})
    health = await tables.health(job)
    assert health.dead_tuple_ratio is not None
    assert 0.4 < health.dead_tuple_ratio < 0.8


async def test_a_job_whose_secret_is_not_known_says_so(tables: PostgresChunkTables) -> None:
    """A variable that nobody set is a mistake of the declaration."""
    unset = job_of(database={"secret": "${ITEMS_SECRET}"})
    with pytest.raises(BadDeclarationError, match=r"items: database\.secret needs ITEMS_SECRET, which is not set"):
        await tables.check(unset)
