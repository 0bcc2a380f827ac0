"""Moments as APIs write them."""

import re
from datetime import datetime, timedelta

_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:[.,](\d+))?(?:[Zz]|([+-])(\d{2})(?::?(\d{2}))?)?", re.ASCII
)
_MICROSECOND_DIGITS = 6
_MINUTES = 60
_HOURS = 24


def moment_of(text: str) -> datetime | None:
    """An ISO 8601 timestamp in UTC, without its zone; None where it is none.

    A timestamp without zone is one of UTC. Digits beyond the microsecond are cut, never rounded: a cursor that moved
    up could pass the end of its window.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    day, clock, fraction, sign, hours, minutes = found.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}")
        digits = fraction[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
        return moment.replace(microsecond=int(digits)) - _ahead(sign, int(hours or 0), int(minutes or 0))
    except (ValueError, OverflowError):
        return None


def zulu(moment: datetime) -> str:
    """A moment in UTC as APIs take it; the fraction only where there is one."""
    return f"{moment.isoformat()}Z"


def _ahead(sign: str, hours: int, minutes: int) -> timedelta:
    """How far a zone is ahead of UTC.

    Raises:
        ValueError: there is no such offset.
    """
    if hours >= _HOURS or minutes >= _MINUTES:
        raise ValueError(f"no offset: {sign}{hours}:{minutes}")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if sign == "-" else offset
