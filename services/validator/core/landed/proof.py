"""Proving a landing file: its rows are what its trailer says, and what was asked of the source.

What a fetcher did wrong, or what broke on the way, is a MalformedError: the file must not be used. What is wrong at the
source itself (keys that are missing, or there twice) is a fault: the file is whole, and the entity cannot be landed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import polars as pl

from contracts.fields import EntityField
from contracts.loads import Chunk, DayRows, Landing
from contracts.runs import LoadType
from contracts.sources import EntitySource
from services.runtime.failures import MalformedError
from services.validator.core.landed.cursors import cursor_of, micros_of, reach_of
from services.validator.core.landed.keys import KeyCheck
from services.validator.core.landed.types import dates_of, dtype_of, event_date_of

_CURSORS = frozenset({"timestamp_us", "timestamp_us_utc"})
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Proven:
    """What is known of a segment's rows once all of them were looked at.

    Attributes:
        faults: what is wrong at the source, a text each; a segment that has any must not be passed on.
        least_cursor: None where no row has a cursor.
        greatest_cursor: likewise.
    """

    faults: tuple[str, ...] = ()
    least_cursor: str | None = None
    greatest_cursor: str | None = None

    @classmethod
    def of(cls, reach: tuple[int, int] | None, faults: tuple[str, ...] = ()) -> "Proven":
        """Out of the least and the greatest cursor, in microseconds since 1970."""
        return cls(faults) if reach is None else cls(faults, cursor_of(reach[0]), cursor_of(reach[1]))


def check_layout(landing: Landing, size: int, trailer: int) -> None:
    """Check that chunks fill a file up to its trailer; both in bytes.

    Raises:
        MalformedError: they do not, or their rows do not add up.
    """
    offset = 0
    for number, chunk in enumerate(landing.chunks):
        if chunk.offset != offset:
            raise MalformedError(f"chunk {number} starts at byte {chunk.offset}, and the one before ends at {offset}")
        offset += chunk.length
    if offset != size - trailer:
        raise MalformedError(f"its chunks end at byte {offset}, and its trailer starts at {size - trailer}")
    rows = sum(chunk.rows for chunk in landing.chunks)
    if rows != landing.rows:
        raise MalformedError(f"its chunks have {rows} rows, and its trailer says {landing.rows}")


class Proof:
    """Looks at the chunks of one landing file, one by one, and keeps their keys only.

    Args:
        landing: the file's trailer.
        source: what the pipeline says of the entity.

    Raises:
        MalformedError: the trailer lacks what a load of this entity must have.
    """

    def __init__(self, landing: Landing, source: EntitySource) -> None:
        self._schema = [(field.name, dtype_of(field.type)) for field in landing.fields]
        self._date = event_date_of(source.event_date, landing.fields)
        self._window = _Window(landing, source) if landing.load_type is not LoadType.KEYS else None
        _require(source.key, landing.fields, "key")
        self._keys = KeyCheck(source.key)
        self._chunks = 0

    def take(self, chunk: Chunk, stream: bytes) -> None:
        """Prove the next chunk.

        Raises:
            MalformedError: it is not what the trailer says, or not what was asked for.
        """
        try:
            self._take(chunk, _read(stream))
        except MalformedError as error:
            raise MalformedError(f"chunk {self._chunks}: {error}") from error
        self._chunks += 1

    def finish(self) -> Proven:
        """What all chunks say together."""
        return Proven.of(None if self._window is None else self._window.reach, tuple(self._keys.faults()))

    def _take(self, chunk: Chunk, frame: pl.DataFrame) -> None:
        found = list(frame.schema.items())
        if found != self._schema:
            raise MalformedError(_difference(found, self._schema))
        if sum(day.rows for day in chunk.days) != chunk.rows or frame.height != chunk.rows:
            raise MalformedError(f"it has {frame.height} rows, and the trailer says {chunk.rows}")
        _check_days(chunk.days, dates_of(frame, self._date))
        if self._window is not None:
            self._window.take(frame)
        self._keys.take(frame)


class _Window:
    """Cursors within what was asked of the source, and how far they reach (microseconds since 1970)."""

    def __init__(self, landing: Landing, source: EntitySource) -> None:
        _require([source.cursor], landing.fields, "cursor")
        type_ = next(field.type for field in landing.fields if field.name == source.cursor)
        if type_ not in _CURSORS:
            raise MalformedError(f"{source.cursor} is no cursor: it is a {type_}")
        if landing.slice is None:
            raise MalformedError("its trailer does not say what was asked of the source")
        self._slice, self._column = landing.slice, source.cursor
        self._start, self._end = micros_of(landing.slice.start), micros_of(landing.slice.end)
        self.reach: tuple[int, int] | None = None

    def take(self, frame: pl.DataFrame) -> None:
        """Check the cursors of a chunk."""
        missing = frame[self._column].null_count()
        if missing and not self._slice.undated:
            raise MalformedError(f"{missing} rows have no {self._column}, and none of those was asked for")
        reach = reach_of(frame[self._column])
        if reach is None:
            return
        for value in reach:
            if not self._start <= value < self._end:
                window = f"[{self._slice.start}, {self._slice.end})"
                raise MalformedError(f"{self._column} is {cursor_of(value)}, outside of {window}")
        self.reach = reach if self.reach is None else (min(self.reach[0], reach[0]), max(self.reach[1], reach[1]))


def _check_days(days: Sequence[DayRows], dates: pl.Series) -> None:
    """Whether dates are those of the days, so many of each and in this order, which must be that of the calendar."""
    runs = dates.rle().struct.unnest()
    found = list(zip(runs["value"].to_physical(), runs["len"], strict=True))
    try:
        said = [(None if day.date is None else (date.fromisoformat(day.date) - _EPOCH).days, day.rows) for day in days]
    except ValueError as error:
        raise MalformedError(f"its days are not of the calendar: {error}") from error
    if found != said:
        place = next((n for n, (a, b) in enumerate(zip(found, said, strict=False)) if a != b), None)
        if place is None:
            raise MalformedError(f"it has {len(found)} days, and the trailer says {len(said)}")
        raise MalformedError(f"it has {_day(*found[place])} where the trailer says {_day(*said[place])}")
    order = [math.inf if day is None else day for day, _ in said]
    if any(earlier >= later for earlier, later in pairwise(order)):
        raise MalformedError("its rows are not sorted by event date, undated ones last")


def _day(day: int | None, rows: int) -> str:
    try:
        return f"{rows} rows of {'no date' if day is None else _EPOCH + timedelta(days=day)}"
    except OverflowError:
        return f"{rows} rows of a day outside of the years 1 to 9999"


def _read(stream: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(stream)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MalformedError(f"it is not a whole Arrow stream: {reason}") from error


def _require(names: Sequence[str], fields: Sequence[EntityField], what: str) -> None:
    there = {field.name for field in fields}
    for name in names:
        if name not in there:
            raise MalformedError(f"its rows have no {name}, which is of the {what}; they have {sorted(there)}")


def _difference(found: Sequence[tuple[str, pl.DataType]], said: Sequence[tuple[str, pl.DataType]]) -> str:
    """The first column in which two schemas differ."""
    for number, (there, wanted) in enumerate(zip(found, said, strict=False), start=1):
        if there != wanted:
            return f"column {number} is {there[0]} {there[1]}, and the trailer says {wanted[0]} {wanted[1]}"
    return f"it has {len(found)} columns, and the trailer says {len(said)}"
