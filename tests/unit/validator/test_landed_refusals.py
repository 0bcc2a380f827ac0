"""Landing files that are not what they should be: why each goes back."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.fields import EntityField
from contracts.loads import Chunk, DayRows, Slice
from tests.unit.validator.landed_rows import FIELDS, RUN, SCHEMA, landing_file, order, stream
from tests.unit.validator.landed_world import World, command

FIRST = [order(1, 1, at="2025-02-01T00:00:00"), order(2, 1), order(3, 2)]
SECOND = [order(4, 2, at="2025-02-28T23:59:59.999999"), order(5, 9), order(6, None)]
UTC_DAY = [datetime(2025, 2, 1, 23, 30, tzinfo=UTC), datetime(2025, 2, 2, 0, 30, tzinfo=UTC)]
ALL_TYPES: list[tuple[str, pa.DataType, Any]] = [
    ("string", pa.string(), "ü\0'\n"),
    ("binary", pa.binary(), b"\xff\0"),
    ("boolean", pa.bool_(), True),
    ("int16", pa.int16(), -(2**15)),
    ("int32", pa.int32(), 2**31 - 1),
    ("int64", pa.int64(), -(2**63)),
    ("float32", pa.float32(), 1.5),
    ("float64", pa.float64(), 0.1),
    ("decimal(38,18)", pa.decimal128(38, 18), Decimal("-99999999999999999999.999999999999999999")),
    ("date", pa.date32(), date(1, 1, 1)),
    ("time_us", pa.time64("us"), time(23, 59, 59, 999_999)),
    ("timestamp_us", pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001
    ("timestamp_us_utc", pa.timestamp("us", tz="UTC"), UTC_DAY[0]),
    ("list<decimal(5,2)>", pa.list_(pa.decimal128(5, 2)), [Decimal("1.25"), None]),
    ("list<string>", pa.list_(pa.string()), ["a", None, ""]),
    ("list<timestamp_us_utc>", pa.list_(pa.timestamp("us", tz="UTC")), []),
    ("list<time_us>", pa.list_(pa.time64("us")), [time(1, 2, 3)]),
]


async def test_every_type_is_proven_as_fetchers_write_it() -> None:
    """Each field type is one Arrow type, with a value at an end of its range and a null beside it."""
    world = World()
    await world.plan()
    names = [f"f{number}" for number in range(len(ALL_TYPES))]
    fields = FIELDS + [EntityField(name=name, type=each[0]) for name, each in zip(names, ALL_TYPES, strict=True)]
    schema = pa.schema([*SCHEMA, *(pa.field(name, each[1]) for name, each in zip(names, ALL_TYPES, strict=True))])
    rows = [order(1) + [each[2] for each in ALL_TYPES], order(2) + [None] * len(ALL_TYPES)]
    await world.put(landing_file(rows, schema=schema, fields=fields))
    outcome = await world.validate(command())
    assert not outcome.failed, outcome.reasons
    assert world.rows(world.segment()) == [tuple(row) for row in rows]


@pytest.mark.parametrize("place", range(len(ALL_TYPES)))
async def test_a_column_of_another_type_is_refused(place: int) -> None:
    """Also where only the precision, the unit or the zone differs from what the trailer says."""
    type_, arrow, value = ALL_TYPES[place]
    others = {
        "string": "binary",
        "decimal(38,18)": "decimal(38,17)",
        "timestamp_us": "timestamp_us_utc",
        "list<decimal(5,2)>": "list<decimal(5,3)>",
    }
    fields = [*FIELDS, EntityField(name="f", type=others.get(type_, "string"))]
    schema = pa.schema([*SCHEMA, pa.field("f", arrow)])
    reason = await World().refused(landing_file([[*order(1), value]], schema=schema, fields=fields))
    assert reason.startswith("chunk 0: column 6 is f ")
    assert "and the trailer says f " in reason


def spoilt(**changes: Any) -> Callable[[Chunk], Chunk]:
    """What a trailer says of each chunk, changed."""
    return lambda chunk: chunk.model_copy(update=changes)


def days(*said: tuple[str | None, int]) -> Callable[[Chunk], Chunk]:
    """A trailer that says these days of each chunk, and their rows."""
    chunk_days = [DayRows(date=day, rows=rows) for day, rows in said]
    return spoilt(days=chunk_days, rows=sum(day.rows for day in chunk_days))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (landing_file(FIRST, rows=4), "its chunks have 3 rows, and its trailer says 4"),
        (landing_file(FIRST, chunk=spoilt(offset=1)), "chunk 0 starts at byte 1, and the one before ends at 0"),
        (landing_file(FIRST, SECOND, chunk=spoilt(offset=0)), "chunk 1 starts at byte 0, and the one before ends at"),
        (landing_file(FIRST, chunk=spoilt(length=9)), "its chunks end at byte 9, and its trailer starts at"),
        (landing_file(FIRST, run_id="run-2.orders"), "its trailer is that of shop.orders/run-2.orders/s1"),
        (landing_file(FIRST, segment_id="s2"), f"its trailer is that of shop.orders/{RUN}/s2"),
        (landing_file(FIRST, pipeline="shop.others"), f"its trailer is that of shop.others/{RUN}/s1"),
        (landing_file(FIRST, fields=FIELDS[:4]), "its rows have no updated_at, which is of the cursor; they have"),
        (landing_file(FIRST, fields=FIELDS[1:]), "its rows have no order_id, which is of the key; they have"),
        (landing_file(FIRST, slice=None), "its trailer does not say what was asked of the source"),
        (landing_file(FIRST, slice=Slice(start="soon", end="x")), "'soon' is not a cursor"),
        (
            landing_file(FIRST, fields=[*FIELDS[:3], EntityField(name="ordered_on", type="string"), FIELDS[4]]),
            "ordered_on says no event date: it is a string",
        ),
        (
            landing_file(FIRST, fields=[*FIELDS[:4], EntityField(name="updated_at", type="date")]),
            "updated_at is no cursor: it is a date",
        ),
        (landing_file(FIRST, fields=[FIELDS[1], FIELDS[0], *FIELDS[2:]]), "chunk 0: column 1 is order_id Int64, and"),
        (landing_file(FIRST, fields=[*FIELDS, FIELDS[4]]), "chunk 0: it has 5 columns, and the trailer says 6"),
        (
            landing_file(FIRST[:2], rows=3, chunk=days(("2025-02-01", 3))),
            "chunk 0: it has 2 rows, and the trailer says 3",
        ),
        (
            landing_file(FIRST, chunk=days(("2025-02-01", 1), ("2025-02-02", 2))),
            "chunk 0: it has 2 rows of 2025-02-01 where the trailer says 1 rows of 2025-02-01",
        ),
        (
            landing_file(FIRST, chunk=days(("2025-02-01", 2), (None, 1))),
            "chunk 0: it has 1 rows of 2025-02-02 where the trailer says 1 rows of no date",
        ),
        (
            landing_file(FIRST, chunk=days(("2025-02-01", 2), ("2025-02-30", 1))),
            "chunk 0: its days are not of the calendar",
        ),
        (landing_file(FIRST[::-1]), "chunk 0: its rows are not sorted by event date, undated ones last"),
        (landing_file(SECOND[::-1]), "chunk 0: its rows are not sorted by event date, undated ones last"),
        (
            landing_file([order(1, 1), order(2, 2), order(3, 1)]),
            "chunk 0: its rows are not sorted by event date, undated ones last",
        ),
        (
            landing_file(FIRST, [order(7, at="2025-03-01T00:00:00")]),
            "chunk 1: updated_at is 2025-03-01T00:00:00.000000, outside of [2025-02-01T00:00:00.000000, 2025-03-01",
        ),
        (
            landing_file([order(7, at="2025-01-31T23:59:59.999999")]),
            "chunk 0: updated_at is 2025-01-31T23:59:59.999999, outside of",
        ),
        (
            landing_file([order(1), order(2, at=None)]),
            "chunk 0: 1 rows have no updated_at, and none of those was asked for",
        ),
        (landing_file(stream([order(1)])[:-200]), "chunk 0: it is not a whole Arrow stream: "),
        (landing_file(b"not arrow"), "chunk 0: it is not a whole Arrow stream: "),
        (b"x" * 40, "is not a landing file, or it is cut off"),
        (landing_file(FIRST)[:-1], "is not a landing file, or it is cut off"),
        (b"{}" + (2).to_bytes(8, "big") + b"TIDELAND", "its trailer is not one: pipeline: Field required"),
        (b"{}" + (2**60).to_bytes(8, "big") + b"TIDELAND", f"its trailer is {2**60 + 16} bytes long, and the file has"),
    ],
)
async def test_a_file_that_is_not_what_it_should_be_goes_back(body: bytes, reason: str) -> None:
    """It says which chunk and what is wrong with it; nothing is passed on, and the dead-letter queue gets it."""
    assert (await World().refused(body, rows=_rows(body))).startswith(reason)


def _rows(body: bytes) -> int:
    """Rows that the trailer says, as the fetcher puts them into the metadata."""
    found = body.rfind(b'"rows":', 0, body.find(b'"chunks"'))
    return int(body[found + 7 : body.find(b",", found)]) if found > 0 else 0


async def test_a_file_with_other_rows_than_its_metadata_says_goes_back() -> None:
    """The ledger counts what the fetcher said, so both must agree."""
    assert await World().refused(landing_file(FIRST), rows=2) == "it has 3 rows, and its metadata says '2'"
