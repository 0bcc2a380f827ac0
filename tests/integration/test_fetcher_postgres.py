"""Every type of PostgreSQL, from the server's own values to the landing file."""

import datetime as dt
import math
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from contracts.runs import RunState
from services.fetcher.core.landing import schema_of
from tests.postgres_support import Database
from tests.unit.fetcher.slice_world import SliceWorld, command, entity, fields_of, postgres_rows

# Column type, field type, and values as SQL.
EXACT: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "a_text": ("text", "string", ["''", "'ß \U0001f600 \"quoted\" \\ \t'", "repeat('x', 100000)"]),
    "a_varchar": ("varchar(5)", "string", ["'abcde'", "'ab   '"]),
    "a_char": ("char(3)", "string", ["'EUR'", "'E'"]),
    "a_name": ("name", "string", ["'pg_class'"]),
    "a_uuid": ("uuid", "string", ["'2f1cd5a0-8ae2-4d3a-a3ad-0123456789ab'"]),
    "a_json": ("json", "string", ["'{\"b\":  1, \"a\": 1.10}'", "'null'", "'[1e400]'"]),
    "a_jsonb": ("jsonb", "string", ['\'{"b": 1, "a": 1.10}\'', "'\"x\"'"]),
    "an_enum": ("mood", "string", ["'happy'", "'so ''so'''"]),
    "an_inet": ("inet", "string", ["'10.0.0.0/8'", "'::1'"]),
    "an_interval": ("interval", "string", ["'1 mon -2 days 03:04:05.6'"]),
    "a_range": ("int4range", "string", ["'[1,5)'", "'empty'"]),
    "a_money": ("money", "string", ["'-1234.5'"]),
    "a_timetz": ("timetz", "string", ["'12:00:00.5+02'"]),
    "a_bit": ("bit(3)", "string", ["B'101'"]),
    "a_domain": ("positive", "decimal(8,3)", ["12345.678", "0.001"]),
    "bytes": ("bytea", "binary", ["'\\x00ff10'", "''"]),
    "a_bool": ("boolean", "boolean", ["true", "false"]),
    "small": ("smallint", "int16", ["-32768", "32767"]),
    "int": ("integer", "int32", ["-2147483648", "2147483647"]),
    "big": ("bigint", "int64", ["-9223372036854775808", "9223372036854775807"]),
    "an_oid": ("oid", "int64", ["4294967295"]),
    "single": ("real", "float32", ["1.1", "'-0'", "'infinity'", "3.4028235e38"]),
    "double": ("double precision", "float64", ["0.1", "'-infinity'", "5e-324"]),
    "price": ("numeric(12,2)", "decimal(12,2)", ["-9999999999.99", "0", "0.10", "1000000.00"]),
    "wide": ("numeric(38,10)", "decimal(38,10)", ["9999999999999999999999999999.9999999999", "-0.0000000001"]),
    "loose": ("numeric", "decimal(38,9)", ["10000", "1.5", "-0.000000001", "123456789012345678901234567.5"]),
    "round": ("numeric(5,-2)", "decimal(7,0)", ["1234500"]),
    "day": ("date", "date", ["'0001-01-01'", "'9999-12-31'", "'1969-12-31'"]),
    "hour": ("time", "time_us", ["'00:00'", "'23:59:59.999999'"]),
    "local": ("timestamp", "timestamp_us", ["'0001-01-01'", "'9999-12-31 23:59:59.999999'"]),
    "moment": ("timestamptz", "timestamp_us_utc", ["'2024-03-31 02:30:00.123456+02'", "'1969-12-31 23:59:59.999999Z'"]),
    "texts": ("text[]", "list<string>", ["'{}'", "array['a', null, '', '{\"x\"}']"]),
    "uuids": ("uuid[]", "list<string>", ["array['2f1cd5a0-8ae2-4d3a-a3ad-0123456789ab']::uuid[]"]),
    "ints": ("int[]", "list<int32>", ["array[1, null, 3]", "'[5:6]={7,8}'", "'[0:0]={9}'", "'{}'"]),
    "prices": ("numeric(8,2)[]", "list<decimal(8,2)>", ["array[1.50, null, -0.01]", "array[null]::numeric[]"]),
    "days": ("date[]", "list<date>", ["array['2024-02-29'::date, null]"]),
    "moments": ("timestamptz[]", "list<timestamp_us_utc>", ["array['2024-02-29 00:00:00.000001+00'::timestamptz]"]),
    "flags": ("boolean[]", "list<boolean>", ["array[true, false, null]"]),
    'Odd "name"; --': ("int", "int32", ["1"]),
}  # fmt: skip


@pytest.fixture
def world(database: Database, tmp_path: Path) -> SliceWorld:
    """A deployment on the test's own database."""
    return SliceWorld(tmp_path, postgres_rows(database.secret))


def comparable(value: Any) -> Any:
    """A value as both readers of it would have it."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


async def test_every_type_is_exact(database: Database, world: SliceWorld) -> None:
    """Each value is what another driver reads, or the server's own text where the field is text; nulls stay nulls."""
    database.run(
        "CREATE TYPE mood AS ENUM ('happy', 'so ''so''')",
        "CREATE DOMAIN small_positive AS numeric(8,3)",
        "CREATE DOMAIN positive AS small_positive CHECK (VALUE > 0)",
    )
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in EXACT}
    columns = ", ".join(f"{quoted[name]} {type_}" for name, (type_, _, _) in EXACT.items())
    inserts = [
        f"INSERT INTO orders (order_id, updated_at, {quoted[name]}) VALUES ({number * 10 + n}, now(), {value})"  # noqa: S608
        for number, (name, (_, _, values)) in enumerate(EXACT.items())
        for n, value in enumerate(values)
    ]
    database.run(f"CREATE TABLE orders (order_id bigint PRIMARY KEY, updated_at timestamptz, {columns})", *inserts)
    types = {"order_id": "int64"} | {name: type_ for name, (_, type_, _) in EXACT.items()}
    world.pipeline = entity(event_date=None)
    await world.begin()
    outcome = await world.fetch(command(types))
    assert outcome.reasons == {}
    assert (await world.run()).reason is None
    landing, table = world.landed()
    assert table.schema == schema_of(fields_of(types))
    assert landing.fields == fields_of(types)
    got = {row["order_id"]: row for row in table.to_pylist()}
    connection = await database.connect()
    await connection.execute("SET timezone = 'UTC'")
    for number, (name, (type_, field_type, values)) in enumerate(EXACT.items()):
        is_text = field_type.endswith("string") or field_type == "list<string>"
        native = type_ in {"text", "varchar(5)", "char(3)", "name", "text[]"}
        cast = "" if native or not is_text else "::text[]" if field_type == "list<string>" else "::text"
        expected = {
            row["order_id"]: row["value"]
            for row in await connection.fetch(f"SELECT order_id, {quoted[name]}{cast} AS value FROM orders")  # noqa: S608
        }
        for key, row in got.items():
            wanted, found = comparable(expected[key]), comparable(row[name])
            assert type(found) is type(wanted), (name, key)
            assert found == wanted, (name, key)
            if isinstance(wanted, float):
                assert math.copysign(1, found) == math.copysign(1, wanted), name
        assert sum(value is not None for value in expected.values()) == len(values)
        assert number * 10 in got
    await connection.close()
    assert_duckdb_agrees(table)


def assert_duckdb_agrees(table: pa.Table) -> None:
    """Another reader of Arrow finds the same values."""
    seen = duckdb.from_arrow(table).project("order_id, price, wide, day, hour, local, big, texts, prices").fetchall()
    names = ["order_id", "price", "wide", "day", "hour", "local", "big", "texts", "prices"]
    assert seen == [tuple(row[name] for name in names) for row in table.to_pylist()]
    assert any(isinstance(row[2], Decimal) for row in seen)


@pytest.mark.parametrize(
    ("type_", "field_type", "value", "words"),
    [
        ("numeric", "decimal(5,2)", "1.234", "1.234"),
        ("numeric", "decimal(5,2)", "1234.5", "1234.5"),
        ("numeric", "decimal(5,2)", f"0.{'0' * 45}1", "0.000"),
        ("numeric", "decimal(5,2)", "'NaN'", "nan"),
        ("numeric", "decimal(38,0)", "'Infinity'", "inf"),
        ("numeric", "decimal(38,0)", "1e200", "100000"),
        ("date", "date", "'infinity'", "out of range"),
        ("date", "date", "'0044-03-15 BC'", "out of range"),
        ("date", "date", "'10000-01-01'", "out of range"),
        ("timestamp", "timestamp_us", "'-infinity'", "out of range"),
        ("timestamptz", "timestamp_us_utc", "'infinity'", "out of range"),
        ("timestamptz", "timestamp_us_utc", "'294276-12-31 23:59:59.999999Z'", "out of range"),
        ("time", "time_us", "'24:00'", "out of range"),
        ("int[]", "list<int32>", "'{{1,2},{3,4}}'", "several dimensions"),
        ("date[]", "list<date>", "'{2024-01-01,infinity}'", "an array with out of range"),
        ("numeric[]", "list<decimal(5,2)>", "'{1,2.345}'", "an array with 2.345"),
    ],
)
async def test_what_fits_no_type_is_named(
    database: Database, world: SliceWorld, type_: str, field_type: str, value: str, words: str
) -> None:
    """A value that its field cannot hold exactly fails the run, named by column and key; nothing is stored."""
    database.run(
        f"CREATE TABLE orders (order_id bigint, line int, updated_at timestamptz DEFAULT now(), wrong {type_})",
        "INSERT INTO orders (order_id, line) SELECT n, 1 FROM generate_series(1, 5000) n",
        f"INSERT INTO orders (order_id, line, wrong) VALUES (77, 2, {value})",  # noqa: S608 - of this test
        "INSERT INTO orders (order_id, line) SELECT n, 3 FROM generate_series(1, 5000) n",
    )
    world.pipeline = entity(event_date=None, key=["order_id", "line"])
    await world.begin()
    outcome = await world.fetch(command({"order_id": "int64", "line": "int32", "wrong": field_type}))
    assert outcome.reasons == {}
    run = await world.run()
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert run.reason.startswith("shop.orders: wrong of the row order_id=77, line=2 is ")
    assert words in run.reason
    assert run.reason.endswith(f"which is no {field_type}")
    assert "\n" not in run.reason
    assert world.objects.puts == []
    assert world.left_over() == []


async def test_a_number_with_many_zeros_is_exact(database: Database, world: SliceWorld) -> None:
    """Zeros behind the last digit say nothing, however many there are."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz DEFAULT now(), price numeric)",
        f"INSERT INTO orders (order_id, price) VALUES (1, 1.5{'0' * 60}), (2, null), (3, {'0' * 50}2)",  # noqa: S608
    )
    world.pipeline = entity(event_date=None)
    await world.begin()
    await world.fetch(command({"order_id": "int64", "price": "decimal(5,2)"}))
    assert world.landed()[1].column("price").to_pylist() == [Decimal("1.50"), None, Decimal("2.00")]
