"""Landing files of any rows: nothing is lost, days are in order, and what the trailer says is so."""

import datetime as dt
import io
from collections import Counter
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.fields import EntityField
from contracts.loads import DayRows, Landing
from contracts.runs import LoadType
from services.fetcher.core.landing import CHUNK_ROWS, Gather, schema_of
from services.runtime.landing import LandingWriter, read_trailer
from tests.unit.fetcher.slice_world import read_landing

DATED = ["date", "timestamp_us", "timestamp_us_utc"]
moments = st.datetimes(dt.datetime(1969, 12, 30), dt.datetime(1970, 1, 3))  # noqa: DTZ001 - naive on purpose


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[EntityField], list[pa.RecordBatch]]:
    """Batches of rows with a number each and a date that may be null; some batches are empty, some are large."""
    type_ = draw(st.sampled_from(DATED))
    fields = [
        EntityField(name="n", type="int64"),
        EntityField(name="at", type=type_),
        EntityField(name="flags", type="list<boolean>"),
    ]
    schema = schema_of(fields)
    found, number = [], 0
    for _ in range(draw(st.integers(0, 5))):
        few = draw(st.lists(st.none() | moments, max_size=8))
        times = draw(st.sampled_from([1, 1, 1, 800]))
        values = [value for value in few for _ in range(times)]
        if draw(st.booleans()):
            values = sorted(values, key=lambda value: (value is None, value or dt.datetime.max))  # noqa: DTZ901
        numbers = range(number, number + len(values))
        number += len(values)
        columns = [
            pa.array(numbers, pa.int64()),
            pa.array([_as(value, type_) for value in values], schema.field("at").type),
            pa.array([[n % 2 == 0, None] if n % 3 else None for n in numbers], schema.field("flags").type),
        ]
        found.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return fields, found


def _as(value: dt.datetime | None, type_: str) -> dt.date | dt.datetime | None:
    if value is None:
        return None
    return value.date() if type_ == "date" else value.replace(tzinfo=dt.UTC if type_.endswith("utc") else None)


def written(fields: list[EntityField], given_batches: list[pa.RecordBatch], limit: int, dated_by: str | None) -> bytes:
    """A landing file of gathers of at most so many bytes."""
    file = io.BytesIO()
    writer = LandingWriter(file)
    gather = Gather(limit)
    for batch in given_batches:
        if not gather.has_room(batch):
            for stream, days in gather.chunks(dated_by):
                writer.add(stream, days)
        gather.add(batch)
    for stream, days in gather.chunks(dated_by):
        writer.add(stream, days)
    trailer = Landing(
        pipeline="shop.orders",
        run_id="r",
        segment_id="s",
        load_type=LoadType.FULL,
        fields=fields,
        rows=writer.rows,
        chunks=writer.chunks,
    )
    writer.seal(trailer)
    return file.getvalue()


def date_of(value: Any) -> str | None:
    """The event date of a value."""
    if value is None:
        return None
    return (value.date() if isinstance(value, dt.datetime) else value).isoformat()


@settings(max_examples=30, deadline=None)
@given(batches(), st.sampled_from([1, 40_000, 10_000_000]), st.sampled_from(["at", None]))
def test_landing_files_hold_what_was_read(
    given_batches: tuple[list[EntityField], list[pa.RecordBatch]], limit: int, dated_by: str | None
) -> None:
    """Every row is in one chunk, as it was; the days of a chunk are in order, undated last, with the rows it says."""
    fields, read = given_batches
    body = written(fields, read, limit, dated_by)
    landing, tables = read_landing(body)
    assert read_trailer(body, "file") == landing
    rows = [row for table in tables for row in table.to_pylist()]
    wanted = [row for batch in read for row in batch.to_pylist()]
    assert sorted(rows, key=lambda row: row["n"]) == wanted
    assert landing.rows == len(wanted)
    for chunk, table in zip(landing.chunks, tables, strict=True):
        assert table.schema == schema_of(fields)
        dates = [date_of(value) if dated_by else None for value in table.column("at").to_pylist()]
        assert dates == [day.date for day in chunk.days for _ in range(day.rows)]
        assert dates == sorted(dates, key=lambda date: (date is None, date or ""))
        assert len({day.date for day in chunk.days}) == len(chunk.days)
        for date in set(dates):
            same = [n for n, found in zip(table.column("n").to_pylist(), dates, strict=True) if found == date]
            assert same == sorted(same), "rows of a day keep their order"


@settings(max_examples=25, deadline=None)
@given(batches())
def test_chunks_are_cut_at_days(given_batches: tuple[list[EntityField], list[pa.RecordBatch]]) -> None:
    """Within a gather no day is in two chunks, and only the last chunk may be small."""
    fields, read = given_batches
    landing, _ = read_landing(written(fields, read, 10_000_000, "at"))
    assert all(chunk.rows >= CHUNK_ROWS for chunk in landing.chunks[:-1])
    days: Counter[str | None] = Counter()
    for chunk in landing.chunks:
        days.update(day.date for day in chunk.days)
        assert sum(day.rows for day in chunk.days) == chunk.rows
    assert all(chunks == 1 for chunks in days.values())


def test_an_empty_file_has_no_chunk() -> None:
    """Rows that are not there make a file that says so."""
    landing, tables = read_landing(written([EntityField(name="n", type="int64")], [], 1, None))
    assert (landing.rows, landing.chunks, tables) == (0, [], [])


def test_undated_rows_keep_their_order() -> None:
    """Without an event date rows stay as they came, all of them undated."""
    fields = [EntityField(name="n", type="int64")]
    batch = pa.RecordBatch.from_pydict({"n": [3, 1, 2]}, schema=schema_of(fields))
    landing, [table] = read_landing(written(fields, [batch], 10, None))
    assert table.to_pydict() == {"n": [3, 1, 2]}
    assert [chunk.days for chunk in landing.chunks] == [[DayRows(date=None, rows=3)]]
