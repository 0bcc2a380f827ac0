"""Three daily runs and what the source publishes meanwhile, with what must be in the output at the end.

``now`` is in the source's local time. The source is never quite up to date: its newest row is some hours old at each
pull, and some rows come up to 44 hours later than their neighbours.

1. The initial load; the collector is killed while it writes, and run again.
2. A day later. While pages are read, some rows are published and others closed, all of them created early in the
   window; a closed row is no longer wanted.
3. Another day later; the collector is killed while pages are read, and run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bench.nyc_311.rows import Requests, Row, keys_of

DAY = timedelta(days=1)
HISTORY = timedelta(days=300)
HOUR = timedelta(hours=1)
LATEST = timedelta(hours=44)
"""Inside the lag of 48 hours."""

_SECOND = timedelta(seconds=1)
_EARLY = timedelta(minutes=10)  # after the first run's start, from where a collector may count that keeps only this
BURST_SHARE = 4
"""One instant has a fourth of a day's rows: more than a page holds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows there are."""

    base: int
    daily: int
    late: int
    changed: int
    """Rows published, and as many closed, in the middle of the second run."""


@dataclass(frozen=True, slots=True)
class Story:
    """The rows, in groups that are published together; keys are unique."""

    now: tuple[datetime, datetime, datetime]
    """When each run starts."""
    history: Sequence[Row]
    unwanted: Sequence[Row]
    """Published with it, and never to be collected."""
    fresh: tuple[Sequence[Row], Sequence[Row]]
    """Published before the second and the third run, newer than all before."""
    late: tuple[Sequence[Row], Sequence[Row]]
    """Published with them, but among rows that were there already."""
    midrun: Sequence[Row]
    """Published while the second run reads."""
    closed: Sequence[Row]
    """Rows of the second day, with the status they get while the second run reads."""

    @property
    def groups(self) -> Mapping[str, frozenset[str]]:
        """Keys that must be in the output once, by what is special about them."""
        optional = self.optional
        groups = {
            "history": self.history,
            "fresh": [*self.fresh[0], *self.fresh[1]],
            "late": [*self.late[0], *self.late[1]],
            "published in mid-run": self.midrun,
        }
        return {name: keys_of(rows) - optional for name, rows in groups.items()}

    @property
    def optional(self) -> frozenset[str]:
        """Keys of rows that stopped being wanted: in the output once or not at all."""
        return keys_of(self.closed)


def tell(end: datetime, sizes: Sizes, *, behind: timedelta) -> Story:
    """A story whose last run is at ``end``; the newest row is ``behind`` old at each pull."""
    requests = Requests()
    first, second, third = end - 2 * DAY, end - DAY, end
    burst = sizes.daily // BURST_SHARE
    history = [
        *requests.spread(sizes.base - burst, first - behind - HISTORY, first - behind),
        *requests.together(burst, (first - 10 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)),
    ]
    days = [
        list(requests.spread(sizes.daily, since - behind + _SECOND, until - behind))
        for since, until in ((first, second), (second, third))
    ]
    late = [list(requests.spread(sizes.late, now - behind - LATEST, now - behind)) for now in (first, second)]
    early = [row for row in days[0] if row["created_date"] >= (first + _EARLY).isoformat(timespec="milliseconds")]
    return Story(
        now=(first, second, third),
        history=history,
        unwanted=list(requests.spread(sizes.base // 10, first - HISTORY, end - behind, "Closed")),
        fresh=(days[0], days[1]),
        late=(late[0], late[1]),
        midrun=list(requests.spread(sizes.changed, first + _EARLY, first + _EARLY + HOUR)),
        closed=[row | {"status": "Closed"} for row in early[: sizes.changed]],
    )
