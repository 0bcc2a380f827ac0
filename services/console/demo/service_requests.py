"""Service requests as a city's open-data portal publishes them, with what must become of each.

The demo's input and the tests' oracle; the sample Socrata server generates its data here. Rows come in the order of
their creation, which is neither that of their keys nor that of their publication.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime, NonNegativeInt, PositiveFloat

from services.console.demo.dice import Dice
from services.console.demo.service_requests_rows import COLUMNS, Writer

__all__ = ["COLUMNS", "WANTED", "Expected", "Sample", "ServiceRequest", "generate"]

WANTED = frozenset({"Open", "In Progress"})
"""The statuses that the pipeline nyc_311 asks for."""

KEYS_FROM = 61_000_000
KEY_BLOCK = 512
"""Keys are shuffled within blocks of this many rows."""

USUAL_DELAY = timedelta(hours=25)
LATEST = timedelta(hours=47)
"""Between creation and publication, for nearly all rows and at most."""

_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S
_BY_HOUR = (
    *(1.0, 0.68, 0.49, 0.31, 0.33, 0.3, 0.42, 0.66, 0.96, 1.19, 1.21, 1.29),
    *(1.13, 1.18, 1.05, 1.1, 1.07, 1.02, 1.04, 1.1, 1.08, 1.16, 1.21, 1.0),
)
"""How busy each hour of a day is, against the average hour."""


class Sample(BaseModel):
    """What to generate. A larger ``count`` begins with the same rows: time goes on at the same pace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: NonNegativeInt
    seed: int = 2026
    start: NaiveDatetime = Field(default=datetime(2025, 1, 1), description="creation of the first row, local time")  # noqa: DTZ001 - floating, as the portal's
    rows_per_day: PositiveFloat = 550.0
    share_late: float = Field(default=0.1, ge=0, le=1, description="published later than usual, up to 47 h")
    share_tied: float = Field(default=0.12, ge=0, lt=1, description="rows with the created_date of the row before")
    share_odd: float = Field(default=0.02, ge=0, le=1, description="values that are strange or not of their type")
    share_bad: float = Field(default=0.001, ge=0, le=1, description="rows that no pipeline can take as they are")
    instant_rows: NonNegativeInt = Field(default=0, description="rows of one instant, the first midnight after start")


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One row as it stands on the wire, when it appears there, and what must become of it.

    ``nulled`` names its columns whose values are not of their declared type; ``bad`` says why it must be quarantined.
    """

    line: str
    unique_key: str
    created: datetime
    published_at: datetime
    status: str | None
    nulled: tuple[str, ...] = ()
    bad: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """The row as a JSON object."""
        document: dict[str, Any] = json.loads(self.line)
        return document


@dataclass(frozen=True, slots=True)
class Expected:
    """What a pipeline must make of the rows that it asks for: each is merged once or quarantined."""

    merged: frozenset[str] = frozenset()
    """Their unique keys."""
    quarantined: frozenset[str] = frozenset()
    nulled: Mapping[str, int] = field(default_factory=dict)
    """Values that merged rows lose, by column."""

    @classmethod
    def of(
        cls,
        requests: Iterable[ServiceRequest],
        *,
        statuses: Collection[str | None] | None = WANTED,
        published_by: datetime | None = None,
        created_from: datetime | None = None,
    ) -> "Expected":
        """What rows of these statuses (None: of any, or of none at all) come to, as far as they are published.

        ``created_from`` leaves out older rows, as the look-back of an initial load does.
        """
        asked = [
            r
            for r in requests
            if (statuses is None or r.status in statuses)
            and (published_by is None or r.published_at <= published_by)
            and (created_from is None or r.created >= created_from)
        ]
        good = [r for r in asked if not r.bad]
        return cls(
            merged=frozenset(r.unique_key for r in good),
            quarantined=frozenset(r.unique_key for r in asked if r.bad),
            nulled=Counter(column for r in good for column in r.nulled),
        )


def generate(sample: Sample) -> Iterator[ServiceRequest]:
    """The rows of a sample, always the same for the same sample."""
    dice = Dice(sample.seed)
    writer = Writer(dice)
    keys = _keys(dice)
    delay_span_s = int((LATEST - USUAL_DELAY).total_seconds())
    for created in _moments(sample, dice):
        key = next(keys)
        late = dice.chance(sample.share_late)
        delay = USUAL_DELAY + timedelta(seconds=dice.between(1, delay_span_s)) if late else USUAL_DELAY
        bad = dice.chance(sample.share_bad)
        written = writer.row(key, created, odd=dice.chance(sample.share_odd), bad=bad)
        yield ServiceRequest(written.line, key, created, created + delay, written.status, written.nulled, written.bad)


def _moments(sample: Sample, dice: Dice) -> Iterator[datetime]:
    """When each row is created: in order, by the second, now and then several in the same one."""
    pace_s = _DAY_S / sample.rows_per_day
    passed_s = _HOUR_S * sample.start.hour + 60 * sample.start.minute + sample.start.second
    midnight_s = float(_DAY_S - passed_s)
    now_s, same, crowd = 0.0, 0, sample.instant_rows
    for _ in range(sample.count):
        if same:
            same -= 1
        elif dice.chance(sample.share_tied):
            same = dice.between(2, 10) if dice.chance(0.01) else 0
        else:
            hour = int(passed_s + now_s) % _DAY_S // _HOUR_S
            now_s += pace_s * dice.between(0, 2_000_000) / 1_000_000 / _BY_HOUR[hour]
            if crowd and now_s >= midnight_s:
                now_s, same, crowd = midnight_s, crowd - 1, 0
        yield sample.start + timedelta(seconds=int(now_s))


def _keys(dice: Dice) -> Iterator[str]:
    """Unique keys that grow only in the large."""
    block = 0
    while True:
        offset = dice.between(0, KEY_BLOCK - 1)
        for step in range(KEY_BLOCK):
            place = (step * 167 + offset) % KEY_BLOCK  # 167 is prime to the block: each place comes once
            yield str(KEYS_FROM + (block * KEY_BLOCK + place) * 3 + dice.between(0, 2))
        block += 1
