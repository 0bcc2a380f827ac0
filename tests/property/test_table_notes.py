"""A merger that is late takes back the note of its own commit, and nobody else's."""

import asyncio

from tests.property.table_sleepers import asleep, asleep_after
from tests.property.table_world import TTL_S, TableWorld


async def test_who_is_late_does_not_take_back_the_note_of_another() -> None:
    """One sleeps after its put, the next before its own: a third one that finds no note would merge a key twice."""
    world = TableWorld()
    for run_id in ("p", "q", "r"):
        await world.open_run(run_id, 1)
    first = await world.segment("p", "s", 1, ["a"])
    second = await world.segment("q", "s", 1, ["k"])
    third = await world.segment("r", "s", 1, ["k"], day="2026-03-02")

    late_ports, checkpoints = asleep_after(world)
    late = asyncio.ensure_future(world.merge([first], late_ports))
    await asyncio.wait_for(checkpoints.asleep.wait(), 5)
    world.clock.advance(TTL_S)

    sleepy_ports, objects = asleep(world)
    sleeper = asyncio.ensure_future(world.merge([second], sleepy_ports))
    await asyncio.wait_for(objects.asleep.wait(), 5)
    checkpoints.awake.set()
    failed = (await late).failed
    world.clock.advance(TTL_S)

    await world.merge_for_good([third])
    objects.awake.set()
    await world.merge_for_good(sorted({*failed, *(await sleeper).failed}))
    world.assert_exact()
    for run_id in ("p", "q", "r"):
        await world.assert_balanced(run_id)
