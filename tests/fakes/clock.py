"""Clocks that tests own: one true time, and for each holder a clock that may disagree with it."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class TrueTime:
    """The time that really is. Nobody in the system can read it; tests advance it."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass, in seconds; it never goes back."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self.elapsed_s += seconds


class ManualClock:
    """A clock over a true time. Its wall clock may be wrong; its monotonic clock has a start of its own.

    ``skew_s`` is how far the wall clock is ahead of true time, in seconds (negative: behind), and may be changed
    to model a clock that is set. ``boot_s`` shifts the monotonic clock, so that readings of two processes cannot be
    compared by mistake.
    """

    def __init__(self, time: TrueTime | None = None, *, skew_s: float = 0.0, boot_s: float = 0.0) -> None:
        self.time = time or TrueTime()
        self.skew_s = skew_s
        self._boot_s = boot_s

    def now(self) -> datetime:
        """True time plus the skew, UTC."""
        return EPOCH + timedelta(seconds=self.time.elapsed_s + self.skew_s)

    def monotonic(self) -> float:
        """Seconds since this clock's own start."""
        return self._boot_s + self.time.elapsed_s

    def advance(self, seconds: float) -> None:
        """Let true time pass, for every clock over it."""
        self.time.advance(seconds)
