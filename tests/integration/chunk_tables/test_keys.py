from dataclasses import replace
from datetime import date
from typing import Any, TypeAlias

import asyncpg
import pytest

from contracts.chunk_jobs import KeyType
from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Claimed, Updated
from services.runtime.chunking.ports import KeyRows, Window
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.integration.chunk_tables.tables_support import RUN, WINDOW, chunk_of, job_of

Connection: TypeAlias = "asyncpg.Connection[Any]"

ODD: dict[KeyType, list[str]] = {
    "smallint": ["-32768", "0", "32767"],
    "integer": ["-2147483648", "7", "2147483647"],
    "bigint": ["-9223372036854775808", "9007199254740993", "9223372036854775807"],
    "numeric": ["-0.000000000000000000000000000001", "1.10", "NaN", "Infinity", "99999999999999999999999999.9", "1e40"],
    "boolean": ["true", "false"],
    "text": ["", "O'Brien", 'a"b', "a\\b", "{a,b}", "NULL", "null", "ü—雪", "a b\t\n", "$1", "%", ",", "é", "e\u0301"],
    "varchar": ["", " ", "x" * 300, '"', "\\", "{}"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"],
    "date": ["0001-01-01", "0044-03-15 BC", "2024-02-29", "9999-12-31", "5874897-12-31", "infinity", "-infinity"],
    "timestamp": ["2026-01-01 00:00:00.000001", "294276-12-31 23:59:59.999999", "0001-01-01 00:00:00 BC", "-infinity"],
    "timestamptz": ["2026-03-29 02:30:00.5+02", "2026-03-29 00:30:00.5+00", "0044-03-15 12:00:00+00 BC", "infinity"],
}  # fmt: skip


@pytest.mark.parametrize("type_", list(ODD))
async def test_keys_of_every_type_find_exactly_their_rows(
    databases: PostgresJobDatabases,
    tables: PostgresChunkTables,
    watcher: Connection,
    type_: KeyType,
) -> None:
    """Odd values and NULL travel as text through plans and come back as the keys of the same rows, each once."""
    job, database = job_of(type_), databases.of(job_of(type_))
    await watcher.execute(
        f"SET timezone = 'America/New_York'; ALTER DATABASE {await _name(watcher)} SET datestyle = 'SQL, DMY'"
    )
    assert await database.prepare("before", WINDOW)
    for place, value in enumerate([*ODD[type_], None]):
        insert = f"INSERT INTO items SELECT $1::int + n, $2::text::{type_} FROM generate_series(0, 1) AS n"  # noqa: S608
        await watcher.execute(insert, place * 2, value)
    assert await database.prepare(RUN, WINDOW)
    keys = [key async for key in database.distribution()]
    assert keys == [key async for key in database.preview(WINDOW)]
    assert sum(key.rows for key in keys) == 2 * len(ODD[type_]) + 2
    assert sum(key.values == (None,) for key in keys) == 1
    for number, key in enumerate(keys):
        work = chunk_of(job, str(number), [key])
        assert await tables.claim(work, mark=True) == Claimed(1, marked=key.rows)
        assert await tables.update(work) == Updated(key.rows)
        touched = await watcher.fetch("SELECT DISTINCT k::text FROM items WHERE worked = 1")
        assert len(touched) == number + 1
    await watcher.execute("DELETE FROM items WHERE id < 2 OR k IS NULL")
    everything = chunk_of(job, "all", keys)
    await tables.claim(everything, mark=False)
    assert await tables.update(everything) == Updated(rows=2 * len(ODD[type_]) - 2, gone=4)


async def _name(connection: Connection) -> str:
    return f'"{await connection.fetchval("SELECT current_database()")}"'


async def test_keys_of_several_columns_keep_their_order(
    databases: PostgresJobDatabases, tables: PostgresChunkTables, watcher: Connection
) -> None:
    """Columns are found by their names and given in the declared order, whatever the distribution's order is."""
    texts = {
        "setup.sql": "CREATE TABLE IF NOT EXISTS pairs (id int, day date, name text, worked int)",
        "distribution.sql": "SELECT 1 AS more, count(*) AS rows, name, day FROM pairs GROUP BY name, day ORDER BY 4",
        "process.sql": """
            UPDATE pairs SET worked = 1 FROM unnest($1::date[], $2::text[]) AS key (day, name)
            WHERE pairs.day = key.day AND pairs.name = key.name
        """,
    }
    keys = {"day": {"type": "date"}, "name": {"type": "text"}}
    nothing: dict[str, Any] = {
        "prepare": [],
        "mark": None,
        "gone": None,
        "whole": None,
        "preview": None,
        "finish": None,
    }
    job = job_of(texts=texts, sql=nothing)
    job = replace(job, job=type(job.job).model_validate(job.job.model_dump() | {"keys": keys}))
    database = databases.of(job)
    assert await database.prepare(RUN, WINDOW)
    await watcher.execute(
        "INSERT INTO pairs VALUES (1, '2026-01-02', 'b'), (2, '2026-01-01', 'b'), (3, '2026-01-02', 'a')"
    )
    found = [key async for key in database.distribution()]
    assert found[0] == KeyRows(("2026-01-01", "b"), 1)
    work = chunk_of(job, "0", found[:1])
    await tables.claim(work, mark=True)
    assert await tables.update(work) == Updated(1)
    assert await watcher.fetchval("SELECT array_agg(id) FROM pairs WHERE worked = 1") == [2]
    assert work.keys is not None
    other = replace(work, chunk_id="1", keys=work.keys.model_copy(update={"columns": ["day", "nom"]}))
    await tables.claim(other, mark=False)
    with pytest.raises(PermanentError, match=r"keys of a chunk have columns \['day', 'nom'\], not \['day', 'name'\]"):
        await tables.update(other)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT k FROM copied", "distribution.sql: no column 'rows' among k"),
        ("SELECT 1 AS rows", "distribution.sql: no column 'k' among rows"),
        ("SELECT 'a' AS k, 'b' AS k, 1 AS rows", "distribution.sql: more than one column 'k'"),
        ("SELECT 1 AS k, 1 AS rows", "distribution.sql: column 'k' is int4, and is declared as text"),
        ("SELECT 'a'::text AS k, NULL::int AS rows", "distribution.sql: column 'rows' holds NULL"),
        ("SELECT 'a'::text AS k, -1 AS rows", "distribution.sql: column 'rows' is negative"),
        ("SELECT 'a'::text AS k, -1.0 AS rows", "distribution.sql: column 'rows' is negative"),
        ("SELECT 'a'::text AS k, 'many' AS rows", "distribution.sql: column 'rows' holds no number"),
        ("SELECT 'a'::text AS k, 1.5 AS rows", "distribution.sql: column 'rows' holds no whole number"),
        ("SELECT 'a'::text AS k, 'NaN'::float8 AS rows", "distribution.sql: column 'rows' holds no whole number"),
        ("SELECT 'a'::text AS k, true AS rows", "distribution.sql: column 'rows' holds no number"),
        ("SELECT k, 1 AS rows FROM nowhere", 'distribution.sql: relation "nowhere" does not exist'),
        ("SELECT $1::text AS k, 1 AS rows", "distribution.sql: the server expects 1 argument"),
        ("DELETE FROM items RETURNING k, 1 AS rows", "distribution.sql: cannot execute DELETE in a read-only transact"),
    ],
)
async def test_a_distribution_that_is_none_is_refused(databases: PostgresJobDatabases, text: str, said: str) -> None:
    """The file and the column are named, and nothing is planned from what cannot be right."""
    database = databases.of(job_of(texts={"distribution.sql": text}))
    await database.prepare(RUN, WINDOW)
    with pytest.raises(PermanentError) as caught:
        assert [key async for key in database.distribution()]
    assert said in str(caught.value)


async def test_counts_of_other_types_are_taken(databases: PostgresJobDatabases) -> None:
    """A sum is numeric, and a count all the same; a key without rows is told too."""
    text = "SELECT 'a'::varchar AS k, 3.0 AS rows UNION ALL SELECT NULL, 0"
    database = databases.of(job_of(texts={"distribution.sql": text}))
    await database.prepare(RUN, WINDOW)
    assert [key async for key in database.distribution()] == [KeyRows(("a",), 3), KeyRows((None,), 0)]


async def test_a_distribution_is_read_a_part_at_a_time(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """Whoever reads no further leaves nothing behind; a million keys need no more memory than some thousand."""
    text = "SELECT n::text AS k, 1 AS rows FROM generate_series(1, 20000) AS n"
    database = databases.of(job_of(texts={"distribution.sql": text}))
    await database.prepare(RUN, WINDOW)
    assert len([key async for key in database.distribution()]) == 20_000
    keys = database.distribution()
    assert await anext(keys) == KeyRows(("1",), 1)
    assert await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tidegate'") == 1
    await keys.aclose()  # type: ignore[attr-defined]
    assert await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == 0


async def test_a_preview_needs_a_statement(databases: PostgresJobDatabases) -> None:
    """A job without one says so; one with days gets them as days."""
    with pytest.raises(BadDeclarationError, match=r"items declares no sql\.preview"):
        assert [key async for key in databases.of(job_of(sql={"preview": None})).preview(WINDOW)]
    job = job_of(texts={"preview.sql": "SELECT $1::date::text AS k, $2::date - $1::date AS rows"})
    window = Window(date(2026, 1, 1), date(2026, 1, 31))
    assert [key async for key in databases.of(job).preview(window)] == [KeyRows(("2026-01-01",), 30)]
