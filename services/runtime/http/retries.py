"""How long to wait before asking a source again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_SNOOZE_S = 900.0
"""Longest delay that is passed on, seconds: a source that asks for a day is asked again within the hour."""

_SECONDS = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off, half of it jitter, with the source's ``Retry-After`` above it; all times in seconds.

    Nobody holds a worker for longer than ``cap_s`` at a time: what asks for more is put off (TemporaryError).
    """

    attempts: int = 6
    base_s: float = 0.5
    cap_s: float = 60.0
    silence_s: float = 60.0
    """How long a source may send nothing before the attempt is given up."""

    def back_off(self, failures: int, dice: float) -> float:
        """Seconds after this many failures (at least 1); ``dice`` is between 0 and 1."""
        return min(self.cap_s, self.base_s * 2.0 ** (failures - 1)) * (0.5 + 0.5 * dice)

    def delay(self, failures: int, asked: float | None, dice: float) -> float:
        """The back-off, or what the source asked for if that is longer: ``Retry-After: 0`` still waits."""
        return max(self.back_off(failures, dice), min(asked or 0.0, MAX_SNOOZE_S))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from now that an answer asks for, as a number or as a date; None where it asks for nothing readable.

    A date is measured from the answer's own ``Date``, as the two clocks may differ.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _moment(text)
    return None if until is None else max(0.0, (until - (_moment(headers.get("Date", "")) or now)).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
