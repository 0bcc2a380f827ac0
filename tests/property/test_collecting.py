"""A collected pipeline holds every published row once, whatever is late, tied, cut off, killed or delivered twice.

The source's own time runs apart from the services': a row is published at most ``LAG_H`` hours after its cursor.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.runs import RunMode
from tests.property.collect_world import CollectWorld, declare

LAG_H = 4
START = datetime(2025, 12, 20)  # noqa: DTZ001 - the source's timestamps have no zone
MORTALITY = 0.3


class Source:
    """Publishes rows as the source's time goes on."""

    def __init__(self, world: CollectWorld) -> None:
        self.world = world
        self.now = START
        self._rows = 0

    def publish(self, hours: float, ages: list[int]) -> None:
        """Let time pass, and publish a row for each age, in quarters of an hour; equal ages tie."""
        self.now += timedelta(hours=hours)
        for age in ages:
            created = self.now - timedelta(minutes=15 * age)
            self._rows += 1
            # Keys are in no order of time, and of different lengths.
            key = str(self._rows * 7919 % 10_007)
            row = {"key": key, "created": created.isoformat(timespec="milliseconds"), "status": "Open", "value": "1"}
            self.world.dataset.publish(row, row | {"key": f"{key}x", "status": "Closed"})


@dataclass(frozen=True)
class Publish:
    """Rows appear."""

    hours: float
    ages: list[int]


@dataclass(frozen=True)
class Run:
    """A run, some steps of which go by before more rows appear."""

    max_records: int | None
    mortality: float
    meanwhile: list[tuple[int, Publish]]


PUBLISH = st.builds(
    Publish,
    hours=st.sampled_from([0.0, 0.25, 1.0, 3.0, 30.0]),
    ages=st.lists(st.integers(0, 4 * LAG_H), max_size=6),
)
RUN = st.builds(
    Run,
    max_records=st.one_of(st.none(), st.integers(1, 6)),
    mortality=st.sampled_from([0.0, MORTALITY]),
    meanwhile=st.lists(st.tuples(st.integers(0, 8), PUBLISH), max_size=2),
)
SMALL = {"lag_hours": LAG_H, "segment_rows": 3, "batch_size": 2, "max_records": 10}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(st.one_of(PUBLISH, RUN), max_size=8), seed=st.integers(0, 2**32))
def test_every_published_row_is_in_the_output_once(story: list[Publish | Run], seed: int) -> None:
    """Late rows, ties at every boundary, any limit, deaths between all effects, redeliveries, rows in mid-run."""
    asyncio.run(_play(story, seed))


async def _play(story: list[Publish | Run], seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - chances of a test
    world = CollectWorld(declare(**SMALL), rng)
    source = Source(world)
    reached = ""
    for act in story:
        if isinstance(act, Publish):
            source.publish(act.hours, act.ages)
            continue
        run_id = await _run(world, source, act)
        await world.assert_succeeded(run_id)
        assert world.rows() <= world.published(), "never twice, never what was not published"
        watermark = await world.watermarks.read(world.pipeline.watermark)
        cursor = (watermark.cursor if watermark else None) or ""
        assert cursor >= reached, "a watermark only moves forward"
        reached = cursor
        if reached:
            assert world.mirror() is not None
    await _catch_up(world)
    assert world.rows() == world.published()


async def _run(world: CollectWorld, source: Source, act: Run) -> str:
    payload = {} if act.max_records is None else {"max_records": act.max_records}
    run_id = await world.request(**payload)
    for steps, more in act.meanwhile:
        for _ in range(steps):
            queues = world.busy()
            if queues:
                await world.step(world.rng.choice(queues), mortality=act.mortality)
        source.publish(more.hours, more.ages)
    await world.settle(mortality=act.mortality)
    return run_id


async def _catch_up(world: CollectWorld) -> None:
    """Run until no run is cut off any more: each makes progress, so that there is an end."""
    for _ in range(200):
        run_id = await world.run()
        await world.assert_succeeded(run_id)
        run = await world.ledger.run(run_id)
        assert run is not None
        assert run.collection is not None
        if run.collection.limit is None:
            return
    raise AssertionError("the pipeline never catches up")


async def test_a_run_of_one_row_at_a_time_reaches_everything() -> None:
    """max_records of 1 takes whole groups of rows that share a cursor, and each run goes on where the last stopped."""
    world = CollectWorld(declare(**SMALL), Random(1))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 0, 0, 1, 1, 2, 5])
    taken = [await world.assert_succeeded(await world.run(max_records=1)) for _ in range(4)]
    assert taken == [1, 1, 2, 3]
    assert world.rows() == world.published()
    assert world.facts("LimitReached") == ["run-1", "run-2", "run-3"]
    assert await world.assert_succeeded(await world.run(max_records=1)) == 0


async def test_late_rows_are_read_again_within_the_lag() -> None:
    """A row published after its neighbours were merged, and before its lag was over, is not missed."""
    world = CollectWorld(declare(**SMALL), Random(2))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 4, 8])
    assert await world.assert_succeeded(await world.run()) == 3
    source.publish(0, [4 * LAG_H, 4, 1])
    second = await world.run()
    assert await world.assert_succeeded(second) == 3
    run = await world.ledger.run(second)
    assert run is not None
    assert run.mode is RunMode.INCREMENTAL
    assert world.rows() == world.published()


async def test_an_empty_day_succeeds_and_is_shown() -> None:
    """Nothing new is a success with 0 records; the mirror is written, the watermark stays where it is."""
    world = CollectWorld(declare(**SMALL), Random(3))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 3])
    await world.run()
    before = world.mirror()
    world.clock.advance(86_400)
    assert await world.assert_succeeded(await world.run()) == 0
    after = world.mirror()
    assert before is not None
    assert after is not None
    assert after["last_run_timestamp"] == before["last_run_timestamp"] == "2025-12-20T00:00:00.000"
    assert after["updated_at"] > before["updated_at"]


async def test_deleting_the_mirror_starts_over_without_doubling() -> None:
    """The next run is an initial load; what it reads again is recognised."""
    world = CollectWorld(declare(**SMALL), Random(4))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 3, 9])
    await world.run()
    await world.objects.delete("processed", "pipeline_state/last_run_timestamp.json")
    run_id = await world.run()
    assert await world.assert_succeeded(run_id) == 0
    run = await world.ledger.run(run_id)
    assert run is not None
    assert run.mode is RunMode.INITIAL
    assert world.rows() == world.published()
    assert world.mirror() is not None


async def test_an_old_backfill_neither_regresses_nor_leaps() -> None:
    """A forced load of more of the past brings what is missing and leaves the watermark alone."""
    world = CollectWorld(declare(**SMALL, initial_lookback_days=3), Random(5))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 0])  # 12 days before the services' present: outside of an initial load's look-back
    source.publish(24 * 11, [0, 2])
    await world.run()
    assert sum(world.rows().values()) == 2
    before = await world.watermarks.read(world.pipeline.watermark)
    run_id = await world.run(force_initial_load=True, initial_lookback_days=30)
    assert await world.assert_succeeded(run_id) == 2
    run = await world.ledger.run(run_id)
    after = await world.watermarks.read(world.pipeline.watermark)
    assert run is not None
    assert before is not None
    assert after is not None
    assert (run.mode, after.cursor) == (RunMode.BACKFILL, before.cursor)
    assert world.rows() == world.published()


async def test_overlapping_runs_double_nothing() -> None:
    """Two runs over the same window, planned one after the other while the first hangs, merge each row once."""
    world = CollectWorld(declare(**SMALL), Random(6))  # noqa: S311
    source = Source(world)
    source.publish(0, [0, 1, 2, 3, 3, 3, 9])
    first = await world.request()
    await world.step("plan-requests")
    world.clock.advance(3_600)
    second = await world.request()
    await world.step("plan-requests")
    await world.settle(mortality=MORTALITY)
    records = [await world.assert_succeeded(first), await world.assert_succeeded(second)]
    assert sum(records) == 7
    assert world.rows() == world.published()


@pytest.mark.parametrize("seed", range(6))
async def test_a_long_life_is_exact(seed: int) -> None:
    """Forty days with late rows, limits and deaths: equal to the source in the end."""
    rng = Random(seed)  # noqa: S311
    world = CollectWorld(declare(**SMALL), rng)
    source = Source(world)
    for _ in range(12):
        source.publish(rng.choice([0.0, 1.0, 24.0]), [rng.randint(0, 4 * LAG_H) for _ in range(rng.randint(0, 9))])
        payload = {"max_records": rng.randint(1, 9)} if rng.random() < 0.5 else {}
        await world.assert_succeeded(await world.run(mortality=MORTALITY, **payload))
    await _catch_up(world)
    assert world.rows() == world.published()
    assert world.deaths
    assert Counter(world.facts("RunFailed")) == Counter()
