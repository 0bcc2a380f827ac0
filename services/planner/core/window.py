"""What a collecting run reads and what it may claim afterwards. Cursors are the source's literal text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.runs import CollectPayload, RunMode, RunState
from contracts.sources import SocrataSource
from contracts.topology import TOPOLOGY
from services.planner.core.floating import day_before, earliest_anywhere, hours_before, latest_anywhere
from services.runtime.ledger import Run
from services.runtime.watermarks import Watermark

COLLECTING = frozenset({RunMode.INITIAL, RunMode.INCREMENTAL, RunMode.BACKFILL, RunMode.FULL, RunMode.KEYS})
SNOOZE_S = 15.0
"""How long a request waits before it looks again whether the pipeline's present run has ended."""
SPARE_RECEIVES = 3
"""Receives that waiting for another run leaves over for other trouble."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a pipeline stands when a run of it is planned."""

    watermark: Watermark | None = None
    resume: Watermark | None = None
    """Where the last forced load was stopped by its limit."""
    resumable_from: str | None = None
    """The lower end that load was asked for; None if nobody knows any more."""
    mirror_deleted: bool = False
    """Whether there is a watermark whose mirror somebody took away, to start over."""

    @property
    def cursor(self) -> str | None:
        """How far the pipeline is; None where everything starts (over)."""
        return None if self.watermark is None or self.mirror_deleted else self.watermark.cursor

    @property
    def complete_until(self) -> str | None:
        """Up to here nothing can be published any more, and everything is merged."""
        return None if self.watermark is None or self.cursor is None else self.watermark.complete_until


@dataclass(frozen=True, slots=True)
class Window:
    """What a run would read if it had no limit."""

    mode: RunMode
    start: str
    asked_from: str
    known: str | None = None
    """Rows up to this cursor are read again for late ones among them; beyond it is new ground (None: everywhere)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the success of a run moves."""

    frontier: str | None
    complete_until: str | None


def mode_of(source: SocrataSource, payload: CollectPayload, cursor: str | None) -> RunMode:
    """Why a collecting run exists."""
    if cursor is None:
        return RunMode.INITIAL
    if not payload.force_initial_load:
        return RunMode.INCREMENTAL
    further = (payload.initial_lookback_days or 0) > source.initial_lookback_days
    return RunMode.BACKFILL if further else RunMode.INITIAL


def window_of(source: SocrataSource, payload: CollectPayload, standing: Standing, now: datetime) -> Window:
    """From where a run reads, and how much of that is known.

    Raises:
        MalformedError: the watermark's cursor is not a floating timestamp.
    """
    cursor = standing.cursor
    mode = mode_of(source, payload, cursor)
    if cursor is not None and mode is RunMode.INCREMENTAL:
        start = _incremental_start(source, cursor, standing.complete_until)
        return Window(mode, start, asked_from=start, known=cursor)
    asked = day_before(now, payload.initial_lookback_days or source.initial_lookback_days)
    place = _place(standing, asked) if cursor is not None else None
    return Window(mode, place or asked, asked_from=asked, known=place)


def claim_of(
    source: SocrataSource, window: Window, standing: Standing, end: str | None, newest: str | None, now: datetime
) -> Claim:
    """What is proven once every row from the window's start to ``end`` (None: there are none) is merged.

    Raises:
        MalformedError: a cursor is not a floating timestamp.
    """
    cursor, complete = standing.cursor, standing.complete_until
    if end is None or newest is None:
        return Claim(cursor if window.mode is RunMode.INCREMENTAL else None, complete)
    # A row that is dated in the future says nothing about which moments are over.
    today = earliest_anywhere(now) if is_from_the_future(newest, now) else newest
    reached = max(min(end, hours_before(today, source.lag_hours)), complete or "")
    if cursor is None:
        return Claim(end, reached)
    if window.mode is RunMode.INCREMENTAL:
        return Claim(max(end, cursor), reached)
    leaves_gap = window.start > _incremental_start(source, cursor, complete)
    return Claim(None if leaves_gap or end <= cursor else end, reached)


def is_from_the_future(cursor: str, now: datetime) -> bool:
    """Whether no place on earth has come to this local time yet."""
    return cursor > latest_anywhere(now)


def forced_place(watermark: str) -> str:
    """Name of the watermark that says where a pipeline's forced loads go on."""
    return f"{watermark}/forced"


def occupant(
    runs: Sequence[Run], request: str, pipeline: str, now: datetime, exclusive: timedelta
) -> tuple[str, float] | None:
    """The other run that has the pipeline's source to itself, and for how many seconds more."""
    others = [
        ((exclusive - (now - datetime.fromisoformat(run.started_at))).total_seconds(), run.run_id)
        for run in runs
        if run.pipeline == pipeline
        and run.run_id != request
        and run.mode in COLLECTING
        and run.state in {RunState.PLANNING, RunState.RUNNING}
    ]
    left, run_id = max(others, default=(0.0, ""))
    return (run_id, left) if left > 0 else None


def snooze_s(busy_s: float, receives: int) -> float:
    """Seconds until a request looks again: soon at first, then so that its receives outlast the other run's time."""
    most = TOPOLOGY.queue("plan-requests").max_receives
    if receives < most // 2:
        return SNOOZE_S
    return max(SNOOZE_S, busy_s / max(1, most - receives - SPARE_RECEIVES))


def _incremental_start(source: SocrataSource, cursor: str, complete_until: str | None) -> str:
    return complete_until or hours_before(cursor, source.lag_hours)


def _place(standing: Standing, asked: str) -> str | None:
    """Where a forced load goes on, if an earlier one read all that this one asks for up to there."""
    place = None if standing.resume is None else standing.resume.cursor
    if place is None or standing.resumable_from is None:
        return None
    return place if standing.resumable_from <= asked <= place else None
