"""Cursors as microseconds, which compare like the instants they are."""

from datetime import UTC, datetime, timedelta

import polars as pl

from services.runtime.failures import MalformedError

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - cursors are UTC without saying so
_MICROSECOND = timedelta(microseconds=1)


def micros_of(cursor: str) -> int:
    """Microseconds since 1970 of a cursor's text.

    Raises:
        MalformedError: it is none.
    """
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError as error:
        raise MalformedError(f"{cursor!r} is not a cursor: {error}") from error
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _EPOCH) // _MICROSECOND


def cursor_of(micros: int) -> str:
    """The text of a cursor, ``YYYY-MM-DDTHH:MM:SS.ffffff``; of one outside the years 1 to 9999, its microseconds."""
    try:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds")
    except OverflowError:
        return f"{micros} microseconds since 1970"


def reach_of(cursors: pl.Series) -> tuple[int, int] | None:
    """Least and greatest of a column of timestamps, in microseconds; None where it holds none."""
    values = cursors.to_physical()
    least, greatest = values.min(), values.max()
    return (least, greatest) if isinstance(least, int) and isinstance(greatest, int) else None
