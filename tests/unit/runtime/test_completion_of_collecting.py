"""Ending a collecting run, over the fakes: mirror, watermark, the place of a forced load, the limit."""

import json
from typing import Any

import pytest

from contracts.runs import RunState
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.runtime.test_completion import EARLIER, LATER, NOON, PLACE, W, World


@pytest.fixture
def world() -> World:
    """Everything empty."""
    return World()


async def test_a_collecting_run_shows_how_far_it_is(world: World) -> None:
    """The watermark knows from where nothing can come late, and the mirror shows its cursor."""
    await world.collect("r", complete_until=EARLIER)
    await world.merge("r")
    assert await world.completion().complete("r", W) is RunState.SUCCEEDED
    standing = world.watermarks.records[W]
    assert (standing.cursor, standing.complete_until, world.shown()) == (NOON, EARLIER, NOON)


async def test_a_limit_is_announced_with_the_place_it_fell_on(world: World) -> None:
    """Before the run is, and only once it has succeeded."""
    await world.collect("r", limit=5)
    completion = world.completion()
    await completion.complete("r", W)
    assert world.facts() == []
    await world.merge("r")
    await completion.complete("r", W)
    assert world.facts() == [("LimitReached", "r/limit"), ("RunCompleted", "r/completed")]
    body = world.publisher.announced()[0].body
    assert (body["max_records"], body["frontier"]) == (5, NOON)


async def test_a_run_that_leaves_the_watermark_shows_where_it_stands(world: World) -> None:
    """A backfill refreshes the mirror, and no more."""
    await world.collect("first")
    await world.merge("first")
    await world.completion().complete("first", W)
    world.clock.advance(60)
    await world.collect("backfill", frontier=None, end=EARLIER, version=1)
    await world.merge("backfill")
    await world.completion().complete("backfill", W)
    assert (world.watermarks.records[W].version, world.shown()) == (1, NOON)
    stored = world.objects.buckets["state"].current("mirror.json")
    assert stored is not None
    assert json.loads(stored.body)["updated_at"] == world.clock.now().isoformat()


async def test_a_deleted_mirror_stays_deleted(world: World) -> None:
    """Whether it was deleted after the run's end or during it: only the next plan may start over and write it."""
    await world.collect("r")
    await world.merge("r")
    await world.completion().complete("r", W)
    await world.objects.delete("state", "mirror.json")
    await world.completion().complete("r", W)
    assert world.shown() is None
    await world.collect("later", frontier=LATER, version=1)
    await world.merge("later")
    assert await world.completion().complete("later", W) is RunState.SUCCEEDED
    assert (world.watermarks.records[W].cursor, world.shown()) == (LATER, None)


async def test_a_frontier_out_of_reach_is_not_shown(world: World) -> None:
    """The watermark was reset since the run was planned, so the mirror says what the watermark says."""
    await world.collect("before")
    await world.watermarks.reset(W, None, expected_version=0, run_id="operator")
    await world.merge("before")
    await world.completion().complete("before", W)
    assert (world.watermarks.records[W].cursor, world.shown()) == (None, "None")


async def test_a_forced_load_keeps_its_place(world: World) -> None:
    """Where its limit stopped it; a load that came through clears it, and an older one leaves it alone."""
    await world.collect("cut", frontier=None, limit=5, resume=PLACE)
    await world.collect("slow", frontier=None, end=LATER, limit=5, resume=PLACE)
    for run_id in ("cut", "slow"):
        await world.merge(run_id)
        await world.completion().complete(run_id, W)
        assert (world.watermarks.records[PLACE].cursor, world.watermarks.records[PLACE].run_id) == (NOON, "cut")
    await world.collect("through", frontier=None, resume=PLACE, resume_version=1)
    await world.merge("through")
    await world.completion().complete("through", W)
    assert (world.watermarks.records[PLACE].cursor, world.watermarks.records[PLACE].version) == (None, 2)
    assert W not in world.watermarks.records


async def test_a_death_at_the_end_of_a_collecting_run_is_made_good() -> None:
    """Ledger, mirror, watermark, place, announcements: the next call brings all of them to the same end."""
    covered: dict[str, Any] = {"limit": 5, "complete_until": EARLIER, "resume": PLACE}
    switch, calm = KillSwitch(), World()
    await calm.collect("r", **covered)
    await calm.merge("r")
    await calm.completion(Effects(switch)).complete("r", W)
    assert [place for place in switch.places if place.startswith("after")] == [
        "after finish run r as succeeded",
        "after put s3://state/mirror.json",
        "after announce LimitReached",
        "after announce RunCompleted",
    ]
    for number in range(1, len(switch.places) + 1):
        world = World()
        await world.collect("r", **covered)
        await world.merge("r")
        with pytest.raises(KilledError):
            await world.completion(Effects(KillSwitch(number))).complete("r", W)
        assert await world.completion().complete("r", W) is RunState.SUCCEEDED
        assert (world.watermarks.records, world.shown()) == (calm.watermarks.records, calm.shown())
        assert set(world.facts()) == set(calm.facts())
