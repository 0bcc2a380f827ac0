"""What a landing file is made of: rows are gathered, sorted by event date and cut into chunks at day boundaries."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import EntityField, TypeParts
from contracts.loads import DayRows
from services.runtime.failures import PermanentError

GATHER_BYTES = 16 * 1024 * 1024
"""Rows that are sorted together, in memory. Rows of one day lie together this far only."""
CHUNK_ROWS = 4_096
"""Least rows of a chunk unless its gather ends: smaller ones compress badly and cost a request each."""
WRITE = pa.ipc.IpcWriteOptions(compression="lz4")

_PLAIN = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "time_us": pa.time64("us"),
    "timestamp_us": pa.timestamp("us"),
    "timestamp_us_utc": pa.timestamp("us", "UTC"),
}
_DATED = frozenset({"date", "timestamp_us", "timestamp_us_utc"})


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a field type."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return pa.list_(arrow_type(parts.item))
    return pa.decimal128(parts.precision, parts.scale) if parts.name == "decimal" else _PLAIN[parts.name]


def schema_of(fields: Sequence[EntityField]) -> pa.Schema:
    """The Arrow schema of rows with these fields, in this order."""
    return pa.schema([(field.name, arrow_type(field.type)) for field in fields])


def dated_by(fields: Sequence[EntityField], event_date: str | None) -> str | None:
    """The field that dates rows, if it is read.

    Raises:
        PermanentError: it is neither a date nor a timestamp.
    """
    found = next((field for field in fields if field.name == event_date), None)
    if found is not None and found.type not in _DATED:
        raise PermanentError(f"event date {found.name!r} is neither a date nor a timestamp: it is {found.type}")
    return None if found is None else found.name


class Gather:
    """Batches of one schema that will be sorted together."""

    def __init__(self, limit: int = GATHER_BYTES) -> None:
        self._limit = limit
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0

    def has_room(self, batch: pa.RecordBatch) -> bool:
        """Whether a batch still fits; an empty gather takes any."""
        return not self._batches or self._bytes + batch.nbytes <= self._limit

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        if batch.num_rows:
            self._batches.append(batch)
            self._bytes += batch.nbytes

    def chunks(self, event_date: str | None) -> Iterator[tuple[memoryview, list[DayRows]]]:
        """The chunks in the order of their days, each as one whole IPC stream with the days that are in it.

        Rows of one day keep their order; undated ones come last. The gather is empty from the first chunk on. Takes
        CPU mostly outside of the interpreter's lock.
        """
        batches, self._batches, self._bytes = self._batches, [], 0
        if not batches:
            return
        ordered, days = _by_day(batches, event_date)
        batches.clear()
        start = 0
        for group in _grouped(days):
            rows = sum(day.rows for day in group)
            yield _stream(ordered.slice(start, rows)), group
            start += rows


def _by_day(batches: Sequence[pa.RecordBatch], event_date: str | None) -> tuple[pa.RecordBatch, list[DayRows]]:
    """One batch of all rows in the order of their days, and how many rows each day has."""
    schema = batches[0].schema
    if event_date is None:
        rows = sum(batch.num_rows for batch in batches)
        return _whole(batches, schema, None), [DayRows(date=None, rows=rows)]
    dates = pa.concat_arrays([pc.cast(batch.column(event_date), pa.date32()) for batch in batches])
    order = None
    if not _is_sorted(dates):
        order = pc.array_sort_indices(dates)  # stable, nulls last
        dates = dates.take(order)
    encoded = pc.run_end_encode(dates)
    ends = [0, *encoded.run_ends.to_pylist()]
    days = zip(encoded.values.to_pylist(), pairwise(ends), strict=True)
    return _whole(batches, schema, order), [
        DayRows(date=None if day is None else day.isoformat(), rows=end - start) for day, (start, end) in days
    ]


def _whole(batches: Sequence[pa.RecordBatch], schema: pa.Schema, order: pa.Array | None) -> pa.RecordBatch:
    """All rows as one batch, in this order. Column by column, so that no more than one is held three times."""
    columns = []
    for number in range(len(schema)):
        column = pa.concat_arrays([batch.column(number) for batch in batches])
        columns.append(column if order is None else column.take(order))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_sorted(dates: pa.Array) -> bool:
    dated = dates.drop_null() if dates.null_count else dates
    # What follows the dated rows is undated where no null comes before the last date.
    if dates.slice(len(dated)).null_count != dates.null_count:
        return False
    return len(dated) < 2 or bool(pc.all(pc.less_equal(dated[:-1], dated[1:])).as_py())  # noqa: PLR2004 - a pair


def _grouped(days: Sequence[DayRows]) -> Iterator[list[DayRows]]:
    group: list[DayRows] = []
    for day in days:
        group.append(day)
        if sum(each.rows for each in group) >= CHUNK_ROWS:
            yield group
            group = []
    if group:
        yield group


def _stream(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=WRITE) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())
