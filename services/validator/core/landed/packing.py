"""Rows as a landing file: sorted by event date, cut into chunks, mostly where a day ends."""

import io
from collections.abc import Iterator

import polars as pl

from contracts.loads import DayRows, Landing
from services.runtime.landing import LandingWriter
from services.validator.core.landed.types import dates_of

CHUNK_ROWS = 4_096
"""Rows that a chunk has at least, unless there are no more."""
MOST_ROWS = 131_072
"""Rows that a chunk has at most, so that a reader's memory is bounded; a longer day is in several."""


def pack(
    rows: pl.DataFrame,
    event_date: str | None,
    about: Landing,
    *,
    chunk_rows: int = CHUNK_ROWS,
    most_rows: int = MOST_ROWS,
) -> tuple[bytes, Landing]:
    """A landing file of rows, and its trailer. The same rows in the same order give the same bytes.

    Args:
        rows: with the fields that ``about`` says.
        event_date: the field that holds their event date; None: all are undated.
        about: the trailer, still without rows and chunks.
        chunk_rows: least rows of a chunk.
        most_rows: most rows of a chunk.
    """
    dates = dates_of(rows, event_date)
    by_date = pl.arg_sort_by("date", nulls_last=True, maintain_order=True)
    order = dates.to_frame("date").select(by_date).to_series()
    rows, dates = rows[order], dates[order]
    file = io.BytesIO()
    writer = LandingWriter(file)
    start = 0
    for days in _chunks(dates, chunk_rows, most_rows):
        length = sum(day.rows for day in days)
        writer.add(_stream(rows.slice(start, length)), days)
        start += length
    landing = about.model_copy(update={"rows": writer.rows, "chunks": writer.chunks})
    writer.seal(landing)
    return file.getvalue(), landing


def _chunks(dates: pl.Series, least: int, most: int) -> Iterator[list[DayRows]]:
    """The days of each chunk; sorted rows have those of one day side by side."""
    gathered: list[DayRows] = []
    held = 0
    for length, day in dates.rle().struct.unnest().rows():
        left = length
        while left:
            taken = min(left, most - held)
            gathered.append(DayRows(date=None if day is None else day.isoformat(), rows=taken))
            held, left = held + taken, left - taken
            if held == most or (held >= least and not left):
                yield gathered
                gathered, held = [], 0
    if gathered:
        yield gathered


def _stream(rows: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.write_ipc_stream(sink, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return sink.getvalue()
