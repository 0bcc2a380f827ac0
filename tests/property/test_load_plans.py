"""Whatever keys a table has, its slices hold each of its rows once."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.loads import START_OF_TIME
from services.planner.core.loads import cursor_of
from tests.integration.planner_postgres_support import LATE, Sight
from tests.postgres_support import Database, PostgresServer

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = st.text(st.sampled_from("aAbBäß'\"\\ _%$1é\u0301中😀-"), max_size=4)
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "smallint": st.integers(-3, 3),
    "numeric": st.decimals(-1000, 1000, places=3),
    "numeric(9,2)": st.decimals(-1000, 1000, places=2),
    "double precision": st.floats(allow_nan=False),
    "text": TEXTS,
    'text COLLATE "C"': TEXTS,
    'text COLLATE "odd"': TEXTS,
    "varchar(4)": TEXTS,
    "char(4)": TEXTS,
    "uuid": st.uuids(),
    "date": st.dates(),
    "boolean": st.booleans(),
    "bytea": st.binary(max_size=3),
    "timestamptz": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "interval": st.timedeltas(timedelta(days=-99), timedelta(days=99)),
    "mood": st.sampled_from(["sad", "ok", "o'k", 'very "ok"']),
    "price": st.decimals(0, 10, places=1),
}
"""Types of key columns with values for them; "odd" sorts upper and lower case alike, where the server can."""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> Iterator[Database]:
    """One database for the module, with types and a collation of its own."""
    database = postgres.new_database()
    database.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'o''k', 'very \"ok\"')",
        "CREATE DOMAIN price AS numeric(5,1)",
    )
    try:
        database.run("CREATE COLLATION odd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except asyncpg.FeatureNotSupportedError:  # a server that was built without ICU has no odd ones
        database.run('CREATE COLLATION odd FROM "C"')
    yield database
    postgres.drop(database)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Types of one to three key columns, and rows of (key, hours of the cursor or None)."""
    types = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3))
    hours = st.one_of(st.none(), st.integers(0, 9))
    return types, draw(st.lists(st.tuples(*(KEYS[type_] for type_ in types), hours), max_size=24))


async def _fill(
    connection: "asyncpg.Connection[Any]", table: str, types: list[str], rows: list[tuple[Any, ...]]
) -> None:
    columns = ", ".join(f"k{n} {type_}" for n, type_ in enumerate(types))
    key = ", ".join(f"k{n}" for n in range(len(types)))
    await connection.execute(f"CREATE TABLE {table} ({columns}, changed timestamptz, PRIMARY KEY ({key}))")
    places = ", ".join(f"${n}" for n in range(1, len(types) + 2))
    statement = f"INSERT INTO {table} VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
    moments = [(*row[:-1], None if row[-1] is None else FIRST + timedelta(hours=row[-1])) for row in rows]
    await connection.executemany(statement, moments)
    await connection.execute(f"ANALYZE {table}")


async def _check(database: Database, types: list[str], rows: list[tuple[Any, ...]], size: int, sampled: int) -> None:
    table, key = f"t{next(_numbers)}", [f"k{n}" for n in range(len(types))]
    sight = Sight(database, sampled_from=sampled, table=table, key=key, segment_rows=size)
    texts = ", ".join(f"{name}::text" for name in key)
    connection = await database.connect()
    try:
        await _fill(connection, table, types, rows)
        await connection.execute("SET timezone = 'UTC'")
        for start, end, whole in (
            (START_OF_TIME, LATE, True),
            (cursor_of(FIRST + timedelta(hours=2)), cursor_of(FIRST + timedelta(hours=6)), False),
        ):
            inside = f"changed >= '{start}' AND changed < '{end}'" + (" OR changed IS NULL" if whole else "")
            there = await connection.fetch(f"SELECT {texts} FROM public.{table} WHERE {inside}")  # noqa: S608
            cuts = await sight.cut(start, end, whole=whole)
            found = await sight.rows_of([cut.slice for cut in cuts], over=connection)
            assert sorted(each for keys in found for each in keys) == sorted("\x1f".join(row) for row in there)
            assert bool(cuts) is bool(there)
            if sampled > len(rows):
                assert [cut.rows for cut in cuts] == [len(keys) for keys in found]
                assert max(map(len, found), default=0) <= size
    finally:
        await connection.execute(f"DROP TABLE IF EXISTS public.{table}")
        await connection.close()


@given(tables(), st.integers(1, 9), st.sampled_from([0, 500_000]))
@example((["text"], [("a", 1), ("A", 1), ("b", 1), ("B", 1), ("'", 1), ('"', None), ("\\", 1)]), 1, 500_000)
@example((['text COLLATE "odd"', "int"], [("a", 1, 1), ("B", 1, 1), ("c", -1, None), ("C ", 0, 3)]), 1, 500_000)
@example((["char(4)"], [("a", 1), ("b ", 1), ("", 1), (" ", 1)]), 1, 500_000)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_in_one_slice(
    shop: Database, table: tuple[list[str], list[tuple[Any, ...]]], size: int, sampled: int
) -> None:
    """Of a whole table and of a window, counted or sampled, whatever its key is made of."""
    types, rows = table
    asyncio.run(_check(shop, types, rows, size, sampled))
