"""Cutting tables of a real PostgreSQL server into slices."""

import pytest
from structlog.testing import capture_logs

from services.planner.core.loads import END_OF_TIME
from services.runtime.failures import PermanentError
from tests.integration.planner_postgres_support import ORDERS, Sight
from tests.postgres_support import Database


async def test_slices_border_and_are_even(database: Database) -> None:
    """By the key, in the server's order, with nothing before the first and nothing after the last."""
    database.run(ORDERS, "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(-4, 5) n")
    cuts = await Sight(database, segment_rows=3).cut()
    assert [(cut.slice.after, cut.slice.upto, cut.rows) for cut in cuts] == [
        (None, ["-2"], 3),
        (["-2"], ["1"], 3),
        (["1"], ["4"], 3),
        (["4"], None, 1),
    ]
    (only,) = await Sight(database, segment_rows=10).cut()
    assert (only.slice.after, only.slice.upto, only.rows) == (None, None, 10)


async def test_rows_that_an_increment_leaves_out_are_told_of(database: Database) -> None:
    """Those without a cursor are read by full loads only; who could lose them is warned, and nobody else."""
    database.run(ORDERS, "INSERT INTO orders VALUES (1, '2026-02-01Z')")
    sight = Sight(database)
    with capture_logs() as logs:
        await sight.cut(whole=False)
        database.run("INSERT INTO orders VALUES (2, NULL)")
        await sight.cut(whole=True)
        assert logs == []
        await sight.cut(whole=False)
    assert [entry["event"] for entry in logs] == ["rows without a cursor: only full loads read them"]


async def test_a_window_is_half_open_and_in_utc(database: Database) -> None:
    """Rows at its start are in it, rows at its end are not; of the whole table those without a cursor are, too."""
    database.run(
        ORDERS,
        "INSERT INTO orders VALUES (1, '2026-02-01T00:00:00Z'), (2, '2026-02-01T02:00:00+02'), (3, '2026-02-02Z'),"
        " (4, NULL), (5, '2026-01-31T23:59:59.999999Z')",
    )
    sight = Sight(database)
    window = ("2026-02-01T00:00:00.000000", "2026-02-02T00:00:00.000000")
    for whole, rows in ((False, [["1", "2"]]), (True, [["1", "2", "4"]])):
        if whole:
            database.run("DELETE FROM orders WHERE id = 5")
            window = ("2026-01-01T00:00:00.000000", window[1])
        cuts = await sight.cut(*window, whole=whole)
        assert ([cut.rows for cut in cuts], [cut.slice.undated for cut in cuts]) == ([len(rows[0])], [whole])
        assert await sight.rows_of([cut.slice for cut in cuts]) == rows


async def test_a_cursor_without_a_zone_is_utc(database: Database) -> None:
    """Whatever zone the server or the database lives in."""
    database.run(
        "CREATE TABLE orders (id int, changed timestamp)",
        "INSERT INTO orders VALUES (1, '2026-02-01T00:00:00'), (2, '2026-02-01T23:00:00')",
        f"ALTER DATABASE \"{database.name}\" SET timezone = 'America/New_York'",
    )
    sight = Sight(database)
    assert [cut.rows for cut in await sight.cut("2026-02-01T00:00:00", "2026-02-01T23:00:00", whole=False)] == [1]
    database.run("ALTER TABLE orders ALTER changed TYPE timestamptz USING changed AT TIME ZONE 'UTC'")
    assert [cut.rows for cut in await sight.cut("2026-02-01T00:00:00", "2026-02-01T23:00:00", whole=False)] == [1]


async def test_no_rows_no_slices(database: Database) -> None:
    """Of an empty table and of an empty window."""
    database.run(ORDERS)
    assert await Sight(database).cut() == []
    database.run("INSERT INTO orders VALUES (1, '2026-02-01')")
    assert await Sight(database).cut("2026-03-01T00:00:00", "2026-04-01T00:00:00", whole=False) == []


async def test_many_rows_are_shared_by_four(database: Database) -> None:
    """However many a segment may hold, so that fetchers work side by side; few rows are not worth it."""
    database.run(ORDERS, "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(1, 80000) n")
    assert len(await Sight(database).cut()) == 1
    database.run("INSERT INTO orders VALUES (0, '2026-02-01')")
    assert [cut.rows for cut in await Sight(database).cut()] == [20_001, 20_001, 20_001, 19_998]


@pytest.mark.parametrize("type_", ["text", "jsonb", "bytea"])
async def test_wide_rows_make_more_slices(database: Database, type_: str) -> None:
    """A segment is bounded in bytes, too, also where the server keeps long values elsewhere."""
    value = {"text": "repeat(md5(n::text), 400)", "bytea": "repeat(md5(n::text), 400)::bytea"}
    wide = value.get(type_, "(SELECT jsonb_agg(md5(i::text || n::text)) FROM generate_series(1, 400) i)")
    database.run(
        f"CREATE TABLE orders (id int, changed timestamptz, wide {type_})",
        f"INSERT INTO orders SELECT n, '2026-02-01', {wide} FROM generate_series(1, 200) n",  # noqa: S608
    )
    cuts = await Sight(database, segment_bytes=256 * 1024).cut()
    assert 8 <= len(cuts) <= 12
    assert sum(cut.rows for cut in cuts) == 200
    keys = [field for field in await Sight(database).entity.describe() if field.name == "id"]
    narrow = await Sight(database, segment_bytes=256 * 1024).entity.cut("1970-01-01", END_OF_TIME, keys, whole=True)
    assert len(narrow) == 1


async def test_a_large_table_is_sampled(database: Database) -> None:
    """Slices come as near to even as a sample makes them, and hold every row once."""
    database.run(
        "CREATE TABLE orders (id int, line int, changed timestamptz, PRIMARY KEY (id, line))",
        "INSERT INTO orders SELECT n / 3, n % 3, '2026-02-01' FROM generate_series(1, 300000) n",
        "INSERT INTO orders VALUES (-1, 0, NULL)",
        "ANALYZE orders",
    )
    sight = Sight(database, key=["id", "line"], segment_rows=30_000, sampled_from=200_000)
    cuts = await sight.cut()
    assert 9 <= len(cuts) <= 12
    rows = await sight.rows_of([cut.slice for cut in cuts])
    assert sum(map(len, rows)) == len({key for keys in rows for key in keys}) == 300_001
    assert max(map(len, rows)) < 1.3 * 30_000
    assert abs(sum(cut.rows for cut in cuts) - 300_001) < 6_000


async def test_statistics_that_are_wrong_do_no_harm(database: Database) -> None:
    """A table that was emptied since it was analysed, or never was, is counted."""
    database.run(ORDERS, "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(1, 600) n", "ANALYZE orders")
    sight = Sight(database, sampled_from=500, segment_rows=100)
    assert len(await sight.cut()) in {5, 6}
    database.run("DELETE FROM orders")
    assert await sight.cut() == []
    database.run("DROP TABLE orders", ORDERS, "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(1, 50) n")
    assert [cut.rows for cut in await sight.cut()] == [50]


async def test_partitions_count_together(database: Database) -> None:
    """A partitioned table is as large as its partitions; children of an inherited one are counted one by one."""
    database.run(
        "CREATE TABLE orders (id int, changed timestamptz) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (300)",
        "CREATE TABLE high PARTITION OF orders FOR VALUES FROM (300) TO (900)",
        "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(0, 599) n",
        "ANALYZE orders",
        "CREATE TABLE parent (id int, changed timestamptz)",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO child SELECT n, '2026-02-01' FROM generate_series(1, 600) n",
        "ANALYZE parent",
        "ANALYZE child",
        "CREATE VIEW seen AS SELECT * FROM parent",
    )
    for table in ("orders", "parent", "seen"):
        sight = Sight(database, table=table, sampled_from=500, segment_rows=100)
        cuts = await sight.cut()
        assert len(cuts) in {5, 6}
        assert sorted(int(key) for keys in await sight.rows_of([cut.slice for cut in cuts]) for key in keys) in (
            list(range(600)),
            list(range(1, 601)),
        )


@pytest.mark.parametrize("cursor", ["1969-12-31T23:59:59Z", "-infinity", "infinity"])
@pytest.mark.parametrize("sampled_from", [500_000, 2])
async def test_rows_that_no_load_would_read(database: Database, cursor: str, sampled_from: int) -> None:
    """A full load refuses to leave them out silently."""
    database.run(
        ORDERS,
        "INSERT INTO orders SELECT n, '2026-02-01' FROM generate_series(1, 9) n",
        f"INSERT INTO orders VALUES (0, '{cursor}')",  # noqa: S608
        "ANALYZE orders",
    )
    with pytest.raises(PermanentError, match=r"public.orders: rows whose 'changed' is before 1970 or infinite \(1 or"):
        await Sight(database, sampled_from=sampled_from).cut()


async def test_rows_without_a_key_are_in_the_first_slice_s_care(database: Database) -> None:
    """No border is made of a key that is null, however many there are."""
    database.run(
        "CREATE TABLE orders (id int, changed timestamptz)",
        "INSERT INTO orders SELECT CASE WHEN n > 3 THEN n END, '2026-02-01' FROM generate_series(1, 9) n",
        "ANALYZE orders",
    )
    for sampled_from in (500_000, 2):
        for cut in await Sight(database, segment_rows=2, sampled_from=sampled_from).cut():
            assert (cut.slice.after or ["0"])[0].isdigit()
            assert (cut.slice.upto or ["0"])[0].isdigit()


async def test_keys_that_are_not_unique_make_no_empty_slice(database: Database) -> None:
    """Rows that share a key stay together."""
    database.run(
        "CREATE TABLE orders (id int, changed timestamptz)",
        "INSERT INTO orders SELECT n / 10, now() FROM generate_series(0, 29) n",
    )
    sight = Sight(database, segment_rows=3)
    cuts = await sight.cut()
    assert [cut.slice.upto for cut in cuts] == [["0"], ["1"], ["2"], None]
    assert [len(rows) for rows in await sight.rows_of([cut.slice for cut in cuts])] == [10, 10, 10, 0]


async def test_a_key_that_cannot_be_sorted(database: Database) -> None:
    """The server's own words say so."""
    database.run(
        "CREATE TABLE orders (id json, changed timestamptz)",
        "INSERT INTO orders SELECT to_json(n), '2026-02-01' FROM generate_series(1, 9) n",
    )
    with pytest.raises(PermanentError, match="json"):
        await Sight(database, segment_rows=2).cut()


OWN_ORDER = (
    "CREATE TYPE pair AS (a int)",
    *(
        f"CREATE FUNCTION pair_{name}(x pair, y pair) RETURNS {result} LANGUAGE sql IMMUTABLE AS 'SELECT {body}'"
        for name, result, body in (
            ("lt", "bool", "(x).a > (y).a"),
            ("le", "bool", "(x).a >= (y).a"),
            ("eq", "bool", "(x).a = (y).a"),
            ("ge", "bool", "(x).a <= (y).a"),
            ("gt", "bool", "(x).a < (y).a"),
            ("cmp", "int", "sign((y).a - (x).a)::int"),
        )
    ),
    *(
        f"CREATE OPERATOR {operator} (leftarg = pair, rightarg = pair, function = pair_{name})"
        for operator, name in (("<", "lt"), ("<=", "le"), ("=", "eq"), (">=", "ge"), (">", "gt"))
    ),
    """
    CREATE OPERATOR CLASS pairs DEFAULT FOR TYPE pair USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 pair_cmp(pair, pair)
    """,
)
"""A type that sorts the other way round, by operators that only who looks into its schema finds."""


async def test_a_type_with_an_order_of_its_own(database: Database) -> None:
    """Keys are cut in the order in which a reader compares them, and not in the one that the type would prefer."""
    database.run(
        *OWN_ORDER,
        "CREATE TABLE orders (id pair, changed timestamptz)",
        "INSERT INTO orders SELECT format('(%s)', n)::pair, '2026-02-01' FROM generate_series(1, 9) n",
    )
    sight = Sight(database, segment_rows=3)
    rows = await sight.rows_of([cut.slice for cut in await sight.cut()])
    assert [sorted(keys) for keys in rows] == [["(1)", "(2)", "(3)"], ["(4)", "(5)", "(6)"], ["(7)", "(8)", "(9)"]]
