"""Whatever a source holds and whenever it publishes it, collecting runs reach every row and cut nothing in two."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.fetching import KeyRange
from contracts.runs import RunMode, RunState
from services.planner.core.slices import sizes_for
from services.planner.core.window import Window
from services.planner.use_case.counting import Counted, count
from tests.fakes.datasets import FakeDataset
from tests.unit.planner.collecting import World, collected, row

pytestmark = pytest.mark.usefixtures("quiet")

FIRST = datetime(2026, 1, 1)  # noqa: DTZ001 - the source's timestamps have no zone
BEHIND_UTC = timedelta(hours=5)
MINUTES = st.builds(lambda day, slot: day * 1_440 + slot, st.integers(0, 4), st.sampled_from([0, 1, 600, 1_439]))
"""Few moments of few days, so that rows share them: midnight, the minute after, some other, the day's last."""
LAG_H = 6


def at(minutes: float) -> str:
    """A moment as the source writes it."""
    return (FIRST + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


@st.composite
def groups(draw: st.DrawFn) -> dict[str, int]:
    """Rows by cursor; some cursors have very many."""
    sizes = st.one_of(st.integers(1, 3), st.integers(1, 40))
    return {at(m): n for m, n in sorted(draw(st.dictionaries(MINUTES, sizes, max_size=9)).items())}


def dataset_of(rows: dict[str, int], **source: int) -> FakeDataset:
    """A dataset with so many rows of each cursor; keys are in no order of time."""
    found = FakeDataset(World(collected(**source)).source)
    found.publish(*(row(cursor, f"{n:03}-{cursor}") for cursor, rows_at in rows.items() for n in range(rows_at)))
    return found


def holds(within: KeyRange, cursor: str, key: str) -> bool:
    """Whether a row falls into a range."""
    upper = cursor < within.before if within.before is not None else cursor <= (within.to or "")
    after = within.after_key is None or key > within.after_key
    return within.start <= cursor and upper and after and (within.to_key is None or key <= within.to_key)


@settings(max_examples=200, deadline=None)
@given(
    groups(),
    MINUTES.map(at),
    st.none() | MINUTES.map(at),
    st.integers(1, 60),
    st.integers(1, 25),
    st.integers(1, 12),
    st.lists(st.tuples(st.floats(-60, 5 * 1_440), st.integers(0, 40)), max_size=8),
)
def test_the_ranges_of_a_plan_hold_every_row_once(
    rows: dict[str, int],
    start: str,
    known: str | None,
    most: int,
    segment_rows: int,
    batch_rows: int,
    probes: list[tuple[float, int]],
) -> None:
    """From start to end each row is in exactly one range, also one that is published after the counting."""
    known = None if known is None or known < start else known
    dataset = dataset_of(rows, segment_rows=segment_rows, batch_size=batch_rows, max_records=most)
    window = Window(RunMode.INCREMENTAL, start, start, known)
    newest = max(rows, default=None)
    counted = asyncio.run(count(dataset, dataset.source, window, newest, most))
    ranges = [planned.range for planned in counted.ranges]
    if counted.end is None:
        assert ranges == []
        assert not any(start <= cursor for cursor in rows)
        return
    assert len({planned.segment_id for planned in counted.ranges}) == len(ranges)
    assert ranges == sorted(ranges, key=lambda r: (r.start, r.after_key or "")), "oldest first"
    wire = [(each["created"], each["key"]) for each in dataset.rows]
    late = [(at(minute), f"{n:03}-late") for minute, n in probes]
    for cursor, key in wire + late:
        assert sum(holds(r, cursor, key) for r in ranges) == (start <= cursor <= counted.end)
    for planned in counted.ranges:
        assert planned.expected_rows == sum(holds(planned.range, *each) for each in wire)
    _check_limit(rows, start, known, most, counted)
    _check_sizes(counted, segment_rows, batch_rows)


def _check_limit(rows: dict[str, int], start: str, known: str | None, most: int, counted: Counted) -> None:
    """The run takes as much new ground as fits, whole cursors, and at least one of them."""
    assert counted.end is not None
    new = {cursor: n for cursor, n in rows.items() if cursor >= start and (known is None or cursor > known)}
    taken = {cursor: n for cursor, n in new.items() if cursor <= counted.end}
    left = [cursor for cursor in new if cursor not in taken]
    assert counted.is_cut == bool(left)
    assert sum(taken.values()) <= most or len(taken) == 1
    if left:
        assert counted.end in taken, "the literal of the last cursor that was taken"
        assert sum(taken.values()) + new[min(left)] > most
    else:
        assert counted.end == max(rows)


def _check_sizes(counted: Counted, segment_rows: int, batch_rows: int) -> None:
    """No segment is much larger than declared, and where work was shared out, none is much larger than its share."""
    rows = [planned.expected_rows for planned in counted.ranges if planned.expected_rows]
    sizes = sizes_for(sum(rows), segment_rows=segment_rows, batch_rows=batch_rows)
    assert sizes.aim <= sizes.most == segment_rows
    assert max(rows) <= min(segment_rows, 2 * (sizes.aim + sizes.least)) + sizes.aim // 4


QUARTERS = st.integers(0, 60).map(lambda n: n * 15)
published = st.tuples(
    QUARTERS, st.sampled_from([0, 0, 60, 200, LAG_H * 60]), st.integers(1, 4), st.none() | st.integers(0, 5_000)
)
"""Cursor, how much later the rows appear (minutes, within the lag), how many, and after how long they are gone."""
steps = st.tuples(
    st.sampled_from([10, 60, 180, 900]),
    st.sampled_from(["incremental"] * 4 + ["forced", "backfill"]),
    st.integers(1, 9),
    st.booleans(),
)
"""Minutes until a run, which one, its limit, and whether its segments are fetched only when more has appeared."""
LOOKBACK_DAYS = {"forced": 1, "backfill": 40}


class Story:
    """A source that publishes late and withdraws rows, and the runs that collect it."""

    def __init__(self, rows: list[tuple[int, int, int, int | None]], segment_rows: int) -> None:
        pipeline = collected(segment_rows=segment_rows, batch_size=2, lag_hours=LAG_H, initial_lookback_days=20)
        self.world = World(pipeline)
        self.world.clock.advance(BEHIND_UTC.total_seconds())
        self.minute = 0.0
        self._events: list[tuple[float, str, dict[str, Any]]] = []
        for serial, (minute, delay, many, gone_after) in enumerate(rows):
            for n in range(many):
                each = row(at(minute), f"{n}-{serial}")
                self._events.append((minute + delay, "publish", each))
                if gone_after is not None:
                    self._events.append((minute + delay + gone_after, "withdraw", each))
        self._events.sort(key=lambda event: event[0])

    def pass_time(self, minutes: float) -> None:
        """The world goes on: rows appear and disappear."""
        self.minute += minutes
        self.world.clock.advance(minutes * 60)
        while self._events and self._events[0][0] <= self.minute:
            _, what, each = self._events.pop(0)
            if what == "publish":
                self.world.dataset.publish(each)
            else:
                self.world.dataset.withdraw(each["key"])

    async def run(self, kind: str, most: int, *, slow: bool) -> bool:
        """One run; whether its limit left something for the next."""
        world = self.world
        before = world.watermark()
        payload: dict[str, Any] = {"max_records": most}
        if kind in LOOKBACK_DAYS:
            payload |= {"force_initial_load": True, "initial_lookback_days": LOOKBACK_DAYS[kind]}
        plan = await world.plan(**payload)
        if slow:
            self.pass_time(30)
        await world.work()
        ended = world.ended(plan.run_id)
        assert ended.state is RunState.SUCCEEDED, ended.reason
        after = world.watermark()
        if before is not None and before.cursor is not None:
            assert after is not None
            assert after.cursor is not None
            assert before.cursor <= after.cursor, "the watermark never goes back"
            assert (before.complete_until or "") <= (after.complete_until or "")
        if after is not None and after.cursor is not None:
            wanted = {r["key"] for r in world.dataset.rows if r["created"] <= (after.complete_until or "")}
            assert wanted <= world.merged, "what is complete is merged"
        return plan.limit is not None

    async def run_out(self, kind: str) -> None:
        """Runs of one kind until their limit leaves nothing; each of them makes progress."""
        for _ in range(len({each["created"] for each in self.world.dataset.rows}) + 1):
            if not await self.run(kind, 3, slow=False):
                return
        raise AssertionError(f"{kind} runs do not come to an end")

    async def tell(self, plot: list[tuple[int, str, int, bool]]) -> None:
        """All runs of the plot, then incremental and forced ones until everything was published and nothing is left."""
        for pause, kind, most, slow in plot:
            self.pass_time(pause)
            await self.run(kind, most, slow=slow)
        self.pass_time(20_000)
        await self.run_out("incremental")
        there = {each["key"] for each in self.world.dataset.rows}
        assert there <= self.world.merged, "every row that is still there was reached"
        await self.run_out("backfill")
        self.world.seen.clear()
        await self.run_out("backfill")
        assert there == self.world.seen, "a forced load reads everything again, in as many runs as it takes"


@settings(max_examples=80, deadline=None)
@given(st.lists(published, min_size=6, max_size=20), st.lists(steps, min_size=3, max_size=10), st.integers(1, 12))
@example([(0, 0, 1, None), (15, 200, 1, None), (60, 0, 1, None)], [(60, "incremental", 9, False)] * 2, 5)
@example(
    [(0, 0, 2, None), (15, 0, 2, None), (4_000, 0, 2, None)],
    [(60, "incremental", 1, False), (4_320, "forced", 9, False)],
    5,
)
def test_runs_reach_every_row_however_late_it_is_published(
    rows: list[tuple[int, int, int, int | None]], plot: list[tuple[int, str, int, bool]], segment_rows: int
) -> None:
    """Within the lag nothing is too late, limits leave nothing out, and forced loads neither regress nor leap."""
    story = Story(rows, segment_rows)
    asyncio.run(story.tell(plot))
