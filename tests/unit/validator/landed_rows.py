"""Rows of entities as fetchers write them: landing files of orders, and lines of payments."""

import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import shake_256
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from contracts.fields import EntityField
from contracts.loads import Chunk, DayRows, Landing, Slice
from contracts.runs import LoadType
from services.runtime.landing import LandingWriter

RUN, DAY = "run-1.orders", "2025-03-01"
FIELDS = [
    EntityField(name="order_id", type="int64"),
    EntityField(name="line", type="int16"),
    EntityField(name="total", type="decimal(12,2)"),
    EntityField(name="ordered_on", type="date"),
    EntityField(name="updated_at", type="timestamp_us_utc"),
]
SCHEMA = pa.schema(
    [
        ("order_id", pa.int64()),
        ("line", pa.int16()),
        ("total", pa.decimal128(12, 2)),
        ("ordered_on", pa.date32()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)
WINDOW = Slice(start="2025-02-01T00:00:00.000000", end="2025-03-01T00:00:00.000000")


def order(number: int, day: int | None = 1, *, at: str | None = "2025-02-10T08:00:00", line: int = 1) -> list[Any]:
    """A row of orders; the time is UTC."""
    moment = None if at is None else datetime.fromisoformat(at).replace(tzinfo=UTC)
    return [number, line, Decimal(f"{number}.50"), None if day is None else date(2025, 2, day), moment]


def stream(rows: Sequence[Sequence[Any]], schema: pa.Schema = SCHEMA) -> bytes:
    """An Arrow stream of rows, as a fetcher writes it."""
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
    sink = io.BytesIO()
    with ipc.new_stream(sink, schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def noise(number: int) -> bytes:
    """A megabyte that does not compress."""
    return shake_256(str(number).encode()).digest(1 << 20)


NOISE = pa.schema([*SCHEMA, pa.field("noise", pa.binary())])
NOISE_FIELDS = [*FIELDS, EntityField(name="noise", type="binary")]


def days_of(rows: Sequence[Sequence[Any]], place: int | None = 3) -> list[DayRows]:
    """The days of rows that are sorted by the date at this place of each."""
    days: list[DayRows] = []
    for row in rows:
        day = None if place is None or row[place] is None else row[place].isoformat()
        if days and days[-1].date == day:
            days[-1] = DayRows(date=day, rows=days[-1].rows + 1)
        else:
            days.append(DayRows(date=day, rows=1))
    return days


def landing_file(
    *chunks: bytes | Sequence[Sequence[Any]],
    schema: pa.Schema = SCHEMA,
    chunk: Callable[[Chunk], Chunk] = lambda each: each,
    **about: Any,
) -> bytes:
    """A landing file with these rows, a list a chunk; ``chunk`` spoils what the trailer says of each."""
    file = io.BytesIO()
    writer = LandingWriter(file)
    place = schema.names.index("ordered_on") if "ordered_on" in schema.names else None
    for rows in chunks:
        whole = [order(1)] if isinstance(rows, bytes) else rows
        writer.add(rows if isinstance(rows, bytes) else stream(rows, schema), days_of(whole, place))
    landing = Landing(
        pipeline="shop.orders",
        run_id=RUN,
        segment_id="s1",
        load_type=LoadType.INCREMENTAL,
        fields=FIELDS,
        slice=WINDOW,
        rows=writer.rows,
        chunks=[chunk(each) for each in writer.chunks],
    )
    writer.seal(landing.model_copy(update=about))
    return file.getvalue()


def payment(key: str | None = "p1", **values: Any) -> bytes:
    """A line with a payment; None leaves a member out."""
    record = {"payment_id": key, "amount": 9.5, "updated_at": "2025-02-10T08:00:00Z"} | values
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()
