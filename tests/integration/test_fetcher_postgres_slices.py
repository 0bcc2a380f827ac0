"""Which rows a slice of a PostgreSQL table has, whatever its names, keys and cursors look like."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from contracts.runs import LoadType, RunState
from tests.postgres_support import Database
from tests.unit.fetcher.slice_world import SliceWorld, command, entity, postgres_rows

KEYED = {"region": "string", "line": "int32"}
EVIL = "'; DROP TABLE orders; SELECT '"
DEEP = "$1 %s {} \\ ''"


@pytest.fixture
def world(database: Database, tmp_path: Path) -> SliceWorld:
    """A deployment on the test's own database."""
    return SliceWorld(tmp_path, postgres_rows(database.secret), pipeline=entity(event_date=None))


async def keys(world: SliceWorld, segment_id: str) -> list[object]:
    """The first column of a segment's rows."""
    return [next(iter(row.values())) for row in world.landed(segment_id)[1].to_pylist()]


async def test_slices_cover_a_table_once(database: Database, world: SliceWorld) -> None:
    """Rows of a composite key are each in one slice, in the server's order of texts, nulls and blanks included."""
    database.run(
        "CREATE TABLE orders (region varchar(20), line int, updated_at timestamp, PRIMARY KEY (region, line))",
        "INSERT INTO orders SELECT r, n, '2025-01-01' FROM generate_series(1, 300) n,"
        " unnest(array['a', 'B', 'b ', 'ä', 'Z', '', 'a''b', 'a\"b']) r",
    )
    world.pipeline = entity(event_date=None, key=["region", "line"])
    cuts = [["a", "7"], ["a'b", "300"], ["ä", "1"], ["b ", "150"]]
    connection = await database.connect()
    ordered = await connection.fetch("SELECT region, line FROM orders ORDER BY region, line")
    await connection.close()
    cuts.sort(key=lambda cut: [tuple(map(str, row)) for row in ordered].index((cut[0], cut[1])))
    bounds = list(zip([None, *cuts], [*cuts, None], strict=True))
    await world.begin(RunState.RUNNING, *(f"s{n}" for n in range(len(bounds))))
    for n, (after, upto) in enumerate(bounds):
        await world.fetch(command(KEYED, segment_id=f"s{n}", after=after, upto=upto))
    read = Counter(
        (row["region"], row["line"]) for n in range(len(bounds)) for row in world.landed(f"s{n}")[1].to_pylist()
    )
    assert read == Counter((row["region"], row["line"]) for row in ordered)
    assert len(world.landed("s1")[1]) > 0


@pytest.mark.parametrize("type_", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("load_type", [LoadType.FULL, LoadType.INCREMENTAL])
async def test_a_window_is_half_open(database: Database, world: SliceWorld, type_: str, load_type: LoadType) -> None:
    """Its start is in it and its end is not, to the microsecond, in UTC whatever the server's zone is."""
    database.run(
        f"ALTER DATABASE \"{database.name}\" SET timezone = 'America/New_York'",
        f"CREATE TABLE orders (order_id bigint, updated_at {type_})",
        *(
            f"INSERT INTO orders VALUES ({n}, '{moment}{'Z' if type_ == 'timestamptz' else ''}')"  # noqa: S608
            for n, moment in enumerate(
                [
                    "2025-03-09 01:59:59.999999",
                    "2025-03-09 02:00:00",
                    "2025-03-09 06:59:59.999999",
                    "2025-03-09 07:00:00.000000",
                ]
            )
        ),
        "INSERT INTO orders VALUES (9, NULL)",
    )
    window: dict[str, Any] = {"start": "2025-03-09T02:00:00.000000", "end": "2025-03-09T07:00:00.000000"}
    await world.begin(RunState.RUNNING, "s1", "s2")
    await world.fetch(
        command({"order_id": "int64"}, load_type=load_type, **window),
        command({"order_id": "int64"}, load_type=load_type, segment_id="s2", undated=True, **window),
    )
    assert await keys(world, "s1") == [1, 2]
    assert await keys(world, "s2") == [1, 2, 9]


async def test_keys_only(database: Database, world: SliceWorld) -> None:
    """A load of keys reads nothing but them, of all rows, whatever their cursor is."""
    database.run(
        "CREATE TABLE orders (order_id bigint, note text, updated_at timestamptz)",
        "INSERT INTO orders VALUES (1, 'x', '1900-01-01'), (2, 'y', 'infinity'), (3, 'z', NULL)",
    )
    await world.begin()
    await world.fetch(command({"note": "string", "order_id": "int64"}, load_type=LoadType.KEYS))
    landing, table = world.landed()
    assert table.to_pylist() == [{"order_id": 1}, {"order_id": 2}, {"order_id": 3}]
    assert [field.name for field in landing.fields] == ["order_id"]


async def test_a_key_with_a_null_is_read(database: Database, world: SliceWorld) -> None:
    """It is in no range of keys, so that the first slice has it: the validator must see it."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz DEFAULT '2025-01-01')",
        "INSERT INTO orders VALUES (1), (2), (3), (NULL)",
    )
    await world.begin(RunState.RUNNING, "s1", "s2")
    await world.fetch(
        command({"order_id": "int64"}, upto=["2"]), command({"order_id": "int64"}, segment_id="s2", after=["2"])
    )
    assert await keys(world, "s1") == [1, 2, None]
    assert await keys(world, "s2") == [3]


@pytest.mark.parametrize("type_", ["char(4)", 'text COLLATE "C"', "name", "uuid", "numeric(6,2)", "date", "code"])
async def test_keys_of_many_types(database: Database, world: SliceWorld, type_: str) -> None:
    """A key is compared as the type it has at the server, given as the server's own text."""
    values = {
        "uuid": [f"00000000-0000-0000-0000-00000000000{n}" for n in range(4)],
        "numeric(6,2)": ["-1.50", "0.00", "9.99", "10.00"],
        "date": ["0044-03-15 BC", "2024-02-29", "2024-03-01", "infinity"],
    }.get(type_, ["a", "ab", "b", "ba"])
    database.run(
        "CREATE DOMAIN code AS varchar(9) CHECK (VALUE <> '')",
        f"CREATE TABLE orders (order_id {type_}, n int, updated_at timestamptz DEFAULT '2025-01-01')",
        *(f"INSERT INTO orders VALUES ('{value}', {n})" for n, value in enumerate(values)),  # noqa: S608
    )
    await world.begin(RunState.RUNNING, "s0", "s1", "s2")
    await world.fetch(
        command({"n": "int32"}, segment_id="s0", upto=[values[0]]),
        command({"n": "int32"}, segment_id="s1", after=[values[0]], upto=[values[2]]),
        command({"n": "int32"}, segment_id="s2", after=[values[2]]),
    )
    assert [await keys(world, f"s{n}") for n in range(3)] == [[0], [1, 2], [3]]


async def test_nothing_of_a_command_is_sql(database: Database, world: SliceWorld) -> None:
    """Names and values that look like SQL are names and values."""
    quoted = [f'"{EVIL}"', f'"{DEEP}"', '"a""b"']
    database.run(
        f'CREATE SCHEMA "{EVIL}"',
        f'CREATE TABLE "{EVIL}"."or;ders""" ({quoted[0]} text, {quoted[1]} int, {quoted[2]} timestamptz)',
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz)",
        f'INSERT INTO "{EVIL}"."or;ders""" VALUES ($${EVIL}$$, 1, now()), ($$z$$, 2, now())',  # noqa: S608
    )
    world.pipeline = entity(
        event_date=None, database_schema=EVIL, table='or;ders"', key=[EVIL, DEEP], cursor='a"b', types={}
    )
    await world.begin(RunState.RUNNING, "s1", "s2")
    types = {EVIL: "string", DEEP: "int32"}
    await world.fetch(
        command(types, upto=[EVIL, "1"]),
        command(types, segment_id="s2", after=[EVIL, "1"]),
    )
    assert world.landed("s1")[1].to_pylist() == [{EVIL: EVIL, DEEP: 1}]
    assert world.landed("s2")[1].to_pylist() == [{EVIL: "z", DEEP: 2}]
    connection = await database.connect()
    assert await connection.fetchval("SELECT count(*) FROM orders") == 0
    await connection.close()


@pytest.mark.parametrize(
    "bounds",
    [{"after": [EVIL]}, {"upto": ["1) OR (1=1"]}, {"start": f"2025-01-01{EVIL}"}, {"end": "infinity'::timestamptz --"}],
)
async def test_values_that_are_none_fail_the_run(database: Database, world: SliceWorld, bounds: dict[str, Any]) -> None:
    """What is no value of its column is refused by the server in its own words, and nothing else happens."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz)", "INSERT INTO orders VALUES (1, now())"
    )
    await world.begin()
    assert (await world.fetch(command({"order_id": "int64"}, **bounds))).reasons == {}
    run = await world.run()
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert "invalid input syntax for type" in run.reason
    assert world.objects.puts == []
    connection = await database.connect()
    assert await connection.fetchval("SELECT count(*) FROM orders") == 1
    await connection.close()


async def test_a_view_cannot_write(database: Database, world: SliceWorld) -> None:
    """Reading changes nothing at the source, whatever the view calls."""
    database.run(
        "CREATE TABLE kept (n int)",
        "CREATE FUNCTION bump() RETURNS bigint LANGUAGE sql AS 'INSERT INTO public.kept VALUES (1) RETURNING 1'",
        "CREATE VIEW orders AS SELECT bump() AS order_id, now() AS updated_at",
    )
    await world.begin()
    await world.fetch(command({"order_id": "int64"}))
    assert "read-only transaction" in ((await world.run()).reason or "")


@pytest.mark.parametrize(
    ("types", "words"),
    [({"order_id": "int64", "gone": "string"}, "no column gone any more"), ({"order_id": "int16"}, "out of range")],
)
async def test_a_table_that_changed(database: Database, world: SliceWorld, types: dict[str, str], words: str) -> None:
    """A column that is gone, or has values that its planned type cannot hold, fails the run in one line."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz)", "INSERT INTO orders VALUES (70000, now())"
    )
    await world.begin()
    await world.fetch(command(types))
    assert words in ((await world.run()).reason or "")


async def test_rows_are_of_one_moment(database: Database, world: SliceWorld) -> None:
    """What commits while a slice is read is not in it, even if its row would be."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz DEFAULT '2025-01-01', note text)",
        "INSERT INTO orders SELECT n, '2025-01-01', repeat('x', 1000) FROM generate_series(1, 20000) n",
    )
    rows = world.rows.read(world.pipeline, command({"order_id": "int64", "note": "string"}))
    first = await anext(aiter(rows))
    await asyncio.to_thread(database.run, "UPDATE orders SET order_id = order_id + 100000")
    seen = set(first.column("order_id").to_pylist())
    async for batch in rows:
        seen.update(batch.column("order_id").to_pylist())
    assert seen == set(range(1, 20001))
