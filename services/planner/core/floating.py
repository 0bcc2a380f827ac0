"""Floating timestamps: ISO 8601 text without a zone, compared as text and never converted.

What is computed from one keeps three decimals, as the sources write them: ``2025-02-21T02:00:00.000``.
"""

from datetime import UTC, date, datetime, timedelta

from services.runtime.failures import MalformedError

MILLISECOND_DIGITS = 3
LATEST_AHEAD_OF_UTC = timedelta(hours=14)
FARTHEST_BEHIND_UTC = timedelta(hours=12)
"""No place on earth has a local time outside of these."""


def hours_before(cursor: str, hours: int) -> str:
    """The moment so many hours earlier on the source's own calendar.

    Raises:
        MalformedError: the cursor is not a timestamp, or has a zone.
    """
    moment = _read(cursor)
    try:
        return _write(moment - timedelta(hours=hours))
    except OverflowError:
        return _write(datetime.min)  # noqa: DTZ901 - floating, like the cursor


def just_after(cursor: str) -> str:
    """The next moment that the cursor's own precision can tell from it: a millisecond later, or less.

    Raises:
        MalformedError: the cursor is not a timestamp, or has a zone.
    """
    moment = _read(cursor)
    if len(cursor.partition(".")[2]) > MILLISECOND_DIGITS:
        return (moment + timedelta(microseconds=1)).isoformat(timespec="microseconds")
    return _write(moment + timedelta(milliseconds=1))


def day_before(now: datetime, days: int) -> str:
    """Midnight at the start of the day so many days ago."""
    today = now.astimezone(UTC).date()
    day = today - timedelta(days=days) if days < today.toordinal() else date.min
    return f"{day.isoformat()}T00:00:00.000"


def latest_anywhere(now: datetime) -> str:
    """The local time where it is latest now: no true timestamp is beyond it."""
    return _write((now.astimezone(UTC) + LATEST_AHEAD_OF_UTC).replace(tzinfo=None))


def earliest_anywhere(now: datetime) -> str:
    """The local time where it is earliest now: this moment has passed everywhere."""
    return _write((now.astimezone(UTC) - FARTHEST_BEHIND_UTC).replace(tzinfo=None))


def _read(cursor: str) -> datetime:
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError as error:
        raise MalformedError(f"cursor {cursor!r} is not a timestamp") from error
    if moment.tzinfo is not None:
        raise MalformedError(f"cursor {cursor!r} has a zone; the planner reads local time as it is given")
    return moment


def _write(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
