"""How far a watermark is behind the clock, as a metric."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.runtime.clock import Clock
from services.runtime.telemetry import Telemetry

METRIC = "WatermarkLag"
DATE_LENGTH = len("YYYY-MM-DD")


@dataclass(frozen=True, slots=True)
class LagMeter:
    """Reports the lag of watermarks."""

    telemetry: Telemetry
    clock: Clock

    def report(self, pipeline: str, cursor: str | None) -> None:
        """Record the seconds from a watermark's cursor to now; a cursor that is no moment has no lag.

        A cursor ahead of the clock (a source's local time can be) has a lag of 0.
        """
        moment = moment_of(cursor)
        if moment is not None:
            lag = (self.clock.now() - moment).total_seconds()
            self.telemetry.metric(METRIC, max(lag, 0.0), "Seconds", pipeline=pipeline)


def moment_of(cursor: str | None) -> datetime | None:
    """The moment a cursor names, read as UTC if it has no zone; None if it names none (a number, say)."""
    # A number of eight digits would pass for a date without separators.
    if cursor is None or len(cursor) < DATE_LENGTH or cursor[4] != "-":
        return None
    try:
        moment = datetime.fromisoformat(cursor)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
