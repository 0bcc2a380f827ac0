"""Entities in Snowflake, against a fake server that speaks its protocol."""

import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.fields import EntityField
from contracts.loads import FetchSlice, Slice
from contracts.runs import LoadType
from services.fetcher.adapters.snowflake import SnowflakeRows
from services.runtime.failures import PermanentError
from services.runtime.snowflake.session import SnowflakeSession, open_session
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.integration.snowflake_support import PASSWORD, SECRET, entity, pipeline

START, END = "1970-01-01 00:00:00", "2026-03-01T00:00:00.000000"
ORDERS = """
    CREATE TABLE "PUBLIC"."ORDERS" (
        "ORDER_ID" NUMBER(18,0), "LINE" TEXT, "AMOUNT" NUMBER(12,2), "NOTE" TEXT, "PAID" BOOLEAN, "ORDERED_ON" DATE,
        "AT" TIME, "SHIPPED_AT" TIMESTAMP_TZ, "EXTRA" VARIANT, "BLOB" BINARY, "RATE" FLOAT, "UPDATED_AT" TIMESTAMP_NTZ
    )
"""
_names = itertools.count(1)


@pytest.fixture
def secrets(snowflake_server: Mapping[str, Any]) -> FakeSecrets:
    """Secrets with the login to a database of the test's own."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored[SECRET] = json.dumps(
        {
            "account": "fakesnow", "username": "tidegate", "password": PASSWORD, "database": f"SHOP_{next(_names)}",
            "schema": "PUBLIC", "host": snowflake_server["host"], "port": snowflake_server["port"],
            "protocol": "http", "engine": "any",
        }
    )  # fmt: skip
    return secrets


@pytest.fixture
async def shop(secrets: FakeSecrets) -> AsyncIterator[SnowflakeSession]:
    """A session that fills the database."""
    async with open_session(secrets, SECRET) as session:
        yield session


async def read(
    secrets: FakeSecrets,
    fields: Sequence[EntityField],
    slice_: Slice,
    load_type: LoadType = LoadType.INCREMENTAL,
    **source: Any,
) -> pa.Table:
    """What the fetcher reads of a slice."""
    command = FetchSlice(
        pipeline="shop.orders",
        run_id="r",
        segment_id="s",
        run_date="2026-03-01",
        load_type=load_type,
        fields=list(fields),
        slice=slice_,
        expected_rows=0,
    )
    batches = [batch async for batch in SnowflakeRows(secrets).read(pipeline(**source), command)]
    return pa.Table.from_batches(batches) if batches else None


async def insert(shop: SnowflakeSession, rows: Sequence[tuple[object, ...]]) -> None:
    """Orders by (order_id, line, updated_at), with nothing else in them."""
    values = ", ".join(["(?, ?, CAST(? AS TIMESTAMP_NTZ))"] * len(rows))
    flat = [value for row in rows for value in row]
    await shop.rows(f'INSERT INTO "PUBLIC"."ORDERS" ("ORDER_ID", "LINE", "UPDATED_AT") VALUES {values}', flat)  # noqa: S608


async def test_describes_columns_in_order_with_types_of_ours(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """Numbers without decimals are whole, others decimal; zoned times are UTC; documents and texts are text."""
    await shop.rows(ORDERS)
    fields = await entity(secrets, types={"RATE": "string"}).describe()
    assert [(field.name, field.type, field.source_type) for field in fields] == [
        ("ORDER_ID", "int64", "NUMBER(18,0)"),
        ("LINE", "string", "TEXT"),
        ("AMOUNT", "decimal(12,2)", "NUMBER(12,2)"),
        ("NOTE", "string", "TEXT"),
        ("PAID", "boolean", "BOOLEAN"),
        ("ORDERED_ON", "date", "DATE"),
        ("AT", "time_us", "TIME"),
        ("SHIPPED_AT", "timestamp_us_utc", "TIMESTAMP_TZ"),
        ("EXTRA", "string", "VARIANT"),
        ("BLOB", "binary", "BINARY"),
        ("RATE", "string", "FLOAT"),
        ("UPDATED_AT", "timestamp_us", "TIMESTAMP_NTZ"),
    ]


async def test_says_what_of_a_declaration_is_not_there(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """A table, a column or a fitting type that is missing is named."""
    await shop.rows(ORDERS)
    for change, said in (
        ({"table": "orders"}, 'no table "PUBLIC"."orders"'),
        ({"cursor": "CHANGED_AT"}, "cursor: no column 'CHANGED_AT'"),
        ({"cursor": "ORDERED_ON"}, "cursor: column 'ORDERED_ON' is date"),
        ({"key": ["RATE"]}, "key: column 'RATE' is float64"),
    ):
        with pytest.raises(PermanentError, match=said):
            await entity(secrets, **change).describe()


async def test_the_ceiling_is_behind_both_clocks(secrets: FakeSecrets) -> None:
    """It is the lag before ours or the source's clock, whichever is behind."""
    now = datetime.now(UTC)
    orders = entity(secrets, lag_seconds=60)
    assert await orders.ceiling(now - timedelta(hours=1)) == now - timedelta(hours=1, seconds=60)
    ahead = await orders.ceiling(now + timedelta(hours=1))
    assert timedelta(seconds=0) <= ahead + timedelta(seconds=60) - now < timedelta(minutes=1)


async def test_reads_every_value_as_it_is(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """Decimals, times, documents, bytes and nulls arrive in the command's types, without loss."""
    await shop.rows(ORDERS)
    await shop.rows(
        """INSERT INTO "PUBLIC"."ORDERS" SELECT 1, 'a''b%s?', 1234567890.12, NULL, TRUE, '2026-01-02',
        '03:04:05.123456', '2026-01-02 03:04:05.123456+02:00', PARSE_JSON('{"a":[1,null]}'), TO_BINARY('00ff', 'HEX'),
        0.1, '2026-01-02 03:04:05.123456'"""
    )
    await insert(shop, [(2, "z", "2026-01-03T00:00:00")])
    fields = await entity(secrets).describe()
    table = await read(secrets, fields, Slice(start=START, end=END))
    assert table.schema.types == [
        pa.int64(), pa.string(), pa.decimal128(12, 2), pa.string(), pa.bool_(), pa.date32(), pa.time64("us"),
        pa.timestamp("us", "UTC"), pa.string(), pa.binary(), pa.float64(), pa.timestamp("us"),
    ]  # fmt: skip
    full, empty = sorted(table.to_pylist(), key=lambda row: row["ORDER_ID"])
    assert full == {
        "ORDER_ID": 1,
        "LINE": "a'b%s?",
        "AMOUNT": Decimal("1234567890.12"),
        "NOTE": None,
        "PAID": True,
        "ORDERED_ON": date(2026, 1, 2),
        "AT": time(3, 4, 5, 123456),
        "SHIPPED_AT": datetime(2026, 1, 2, 1, 4, 5, 123456, tzinfo=UTC),
        "EXTRA": '{"a":[1,null]}',
        "BLOB": b"\x00\xff",
        "RATE": 0.1,
        "UPDATED_AT": datetime(2026, 1, 2, 3, 4, 5, 123456),  # noqa: DTZ001 - as the column says
    }
    # The fake server says 1970 where a timestamp is null, so nothing is learnt from that column.
    filled = [name for name, value in empty.items() if value is not None and name != "SHIPPED_AT"]
    assert filled == ["ORDER_ID", "LINE", "UPDATED_AT"]


async def test_slices_of_a_composite_key_have_every_row_once(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """Slices are balanced, end inside orders too, and leave out what is outside the window."""
    await shop.rows(ORDERS)
    inside = [(order, f"l'{line}", "2026-02-28T23:59:59.999999") for order in range(70) for line in range(order % 7)]
    outside = [(500, "end", END), (501, "undated", None)]
    await insert(shop, [*inside, *outside])
    fields = await entity(secrets).describe()
    cuts = await entity(secrets, segment_rows=25).cut(START, END, fields, whole=False)
    tables = [await read(secrets, fields, cut.slice) for cut in cuts]
    assert [table.num_rows for table in tables] == [cut.rows for cut in cuts]
    assert max(cut.rows for cut in cuts) <= 25
    assert len(cuts) == -(-len(inside) // 25)
    found = pa.concat_tables(tables).select(["ORDER_ID", "LINE"]).to_pylist()
    assert sorted((row["ORDER_ID"], row["LINE"]) for row in found) == sorted(row[:2] for row in inside)


async def test_a_full_load_has_rows_without_a_cursor_too(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """They are in the slices of a whole entity, and in no others."""
    await shop.rows(ORDERS)
    await insert(shop, [(1, "a", None), (2, "b", "2026-01-01")])
    fields = await entity(secrets).describe()
    for whole, rows in ((True, 2), (False, 1)):
        (cut,) = await entity(secrets).cut(START, END, fields, whole=whole)
        assert (cut.rows, (await read(secrets, fields, cut.slice)).num_rows) == (rows, rows)
    assert await entity(secrets).cut(END, "2027-01-01T00:00:00.000000", fields, whole=False) == []


async def test_a_load_of_keys_has_the_keys_of_everything(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """A row that changed after the window's end is still there, so its key is."""
    await shop.rows(ORDERS)
    await insert(shop, [(1, "a", None), (2, "b", "2026-01-01"), (3, "c", "2030-01-01")])
    keys = (await entity(secrets).describe())[:2]
    cuts = await entity(secrets, segment_rows=1).cut(START, END, keys, whole=True)
    tables = [await read(secrets, keys, cut.slice, LoadType.KEYS) for cut in cuts]
    assert [table.to_pylist() for table in tables] == [
        [{"ORDER_ID": 1, "LINE": "a"}],
        [{"ORDER_ID": 2, "LINE": "b"}],
        [{"ORDER_ID": 3, "LINE": "c"}],
    ]


async def test_a_row_without_a_key_is_in_the_last_slice(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """It is in no range of keys, and must be seen to be complained of."""
    await shop.rows(ORDERS)
    await insert(shop, [(1, "a", "2026-01-01"), (None, "b", "2026-01-01"), (3, "c", "2026-01-01")])
    fields = await entity(secrets).describe()
    last = Slice(start=START, end=END, after=["1", "a"])
    table = await read(secrets, fields, last)
    assert sorted(map(str, table["ORDER_ID"].to_pylist())) == ["3", "None"]


async def test_a_value_that_does_not_fit_is_named_with_its_row(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """Nothing is rounded or cut to fit a declared type."""
    await shop.rows(ORDERS)
    await insert(shop, [(number, "a", "2026-01-01") for number in range(20)])
    await shop.rows('UPDATE "PUBLIC"."ORDERS" SET "AMOUNT" = 10.25 WHERE "ORDER_ID" = 13')
    fields = await entity(secrets, types={"AMOUNT": "decimal(12,1)"}).describe()
    with pytest.raises(PermanentError, match=r"'AMOUNT': 10.25 is no decimal\(12,1\).*'ORDER_ID': '13', 'LINE': 'a'"):
        await read(secrets, fields, Slice(start=START, end=END))


async def test_names_may_be_anything(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """Names with quotes and blanks are names, and nothing else."""
    await shop.rows('CREATE TABLE "PUBLIC"."o""; --" ("the ""id""" NUMBER(9,0), "UPDATED_AT" TIMESTAMP_TZ)')
    await shop.rows('INSERT INTO "PUBLIC"."o""; --" SELECT 7, \'2026-01-01 00:00:00+00:00\'')
    odd: dict[str, Any] = {"table": 'o"; --', "key": ['the "id"'], "event_date": None}
    fields = await entity(secrets, **odd).describe()
    (cut,) = await entity(secrets, **odd).cut(START, END, fields, whole=False)
    assert (await read(secrets, fields, cut.slice, **odd)).column(0).to_pylist() == [7]


async def test_a_refused_query_is_permanent(secrets: FakeSecrets, shop: SnowflakeSession) -> None:
    """A table that went away fails the segment in Snowflake's own words; a type that is none never reaches it."""
    await shop.rows(ORDERS)
    fields = await entity(secrets).describe()
    await shop.rows('DROP TABLE "PUBLIC"."ORDERS"')
    with pytest.raises(PermanentError, match="ORDERS does not exist"):
        await read(secrets, fields, Slice(start=START, end=END))
    forged = [fields[0].model_copy(update={"source_type": "TEXT) OR (1=1"}), *fields[1:]]
    with pytest.raises(PermanentError, match="is no type of Snowflake"):
        await read(secrets, forged, Slice(start=START, end=END, after=["1", "a"]))
