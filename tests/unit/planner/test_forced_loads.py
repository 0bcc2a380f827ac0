"""Forced loads of a pipeline that has a watermark: they read again, and may only move it on without a gap."""

from typing import Any

from contracts.runs import RunMode
from tests.unit.planner.collecting import World, collected


async def loaded(**source: Any) -> World:
    """A pipeline that is up to date, over three months."""
    world = World(collected(**{"initial_lookback_days": 100} | source))
    for month in (10, 11, 12):
        world.publish(f"2025-{month}-10T10", [f"{month}a", f"{month}b"])
    await world.run()
    return world


async def test_a_backfill_leaves_the_watermark() -> None:
    """It reads what is older, and neither takes the watermark back nor pretends to have proven it."""
    world = await loaded(initial_lookback_days=30)
    before = world.watermark()
    assert before is not None
    plan = await world.run(force_initial_load=True, initial_lookback_days=100)
    assert (plan.mode, plan.frontier, plan.limit) == (RunMode.BACKFILL, None, None)
    assert plan.start == "2025-09-23T00:00:00.000"
    assert world.watermark() == before
    assert len(world.merged) == 6
    assert world.mirror()["last_run_timestamp"] == before.cursor


async def test_a_forced_load_goes_on_where_its_limit_stopped_it() -> None:
    """Run by run, until it is through; then it starts anew."""
    world = await loaded()
    ends, starts = [], []
    for _ in range(4):
        plan = await world.run(force_initial_load=True, max_records=2)
        ends.append(plan.end)
        starts.append(plan.start)
    months = [f"2025-{month}-10T10:00:00.000" for month in (10, 11, 12)]
    assert ends == [*months, months[0]]
    assert starts == ["2025-09-23T00:00:00.000", *months[:2], "2025-09-23T00:00:00.000"]
    assert world.cursor() == months[2]


async def test_a_larger_backfill_does_not_go_on_from_a_smaller_load() -> None:
    """The smaller one has not read what the larger one is asked for; the other way round it has."""
    world = await loaded(initial_lookback_days=60)
    small = await world.run(force_initial_load=True, max_records=2)
    assert (small.mode, small.end) == (RunMode.INITIAL, "2025-11-10T10:00:00.000")
    large = await world.run(force_initial_load=True, initial_lookback_days=100, max_records=3)
    assert (large.mode, large.start, large.end) == (
        RunMode.BACKFILL,
        "2025-09-23T00:00:00.000",
        "2025-10-10T10:00:00.000",
    )
    again = await world.run(force_initial_load=True, initial_lookback_days=100, max_records=2)
    assert (again.start, again.end) == ("2025-10-10T10:00:00.000", "2025-11-10T10:00:00.000")
    small = await world.run(force_initial_load=True, max_records=2)
    assert (small.start, small.end) == ("2025-11-10T10:00:00.000", "2025-12-10T10:00:00.000")


async def test_a_forced_load_may_move_the_watermark_on() -> None:
    """If it reads from before what the watermark proves to beyond its cursor; and only then."""
    world = await loaded()
    world.publish("2025-12-20T10", ["c"])
    plan = await world.run(force_initial_load=True)
    assert plan.frontier == "2025-12-20T10:00:00.000"
    before = world.watermark()
    assert world.cursor() == plan.frontier
    world.publish("2025-12-31T10", ["d"])
    plan = await world.run(force_initial_load=True, initial_lookback_days=5)
    assert (plan.start, plan.frontier) == ("2025-12-27T00:00:00.000", None)
    assert world.watermark() == before
    assert "d" in world.merged
