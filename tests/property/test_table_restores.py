"""A file of a table is restored while its rows came again into other files, or are about to: each key stays once."""

import asyncio
from collections import Counter

import pytest

from contracts.checkpoints import RestoreCheckpoint
from contracts.segments import Destination
from services.merger.adapters.append.strategy import Sizes
from services.merger.ports import Ports
from services.merger.use_case.restore import restore_checkpoint
from services.runtime.failures import MissingObjectError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.table_checks import check_history
from tests.property.table_sleepers import asleep
from tests.property.table_world import PIPELINE, TINY, TTL_S, TableWorld

FIRST = Destination(bucket="processed", key="processed/month=01/data_2026-03-01.parquet")
SECOND = Destination(bucket="processed", key="processed/month=01/data_2026-03-02.parquet")
KINDS = pytest.mark.parametrize("sizes", [None, TINY])


async def restore(world: TableWorld, at: Destination, version: int, ports: Ports | None = None) -> None:
    """An operator's command, which a merger carries out."""
    command = RestoreCheckpoint(
        pipeline=PIPELINE.name,
        scope=PIPELINE.name,
        request_id=f"restore-{at.key}-{version}",
        destination=at,
        version=version,
    )
    await restore_checkpoint(ports or world.ports(Effects()), PIPELINE, command)


async def undone(world: TableWorld) -> str:
    """A file of four rows that was restored to nothing; the segment that brings two of them again on another day."""
    for run_id in ("p", "q", "r"):
        await world.open_run(run_id, 1)
    await world.merge_for_good([await world.segment("p", "s", 1, ["a", "b", "c", "d"])])
    await restore(world, FIRST, 0)
    return await world.segment("q", "s", 1, ["b", "d", "e"], day="2026-03-02", second=1)


def assert_each_once(world: TableWorld, *keys: str) -> None:
    """These keys and no others are in the table, each once."""
    assert Counter(key for key, _ in world.rows()) == Counter(keys)


@KINDS
async def test_rows_that_came_again_elsewhere_stay_there(sizes: Sizes | None) -> None:
    """A version comes back without the rows that other files hold by now, and the next merge finds all of them."""
    world = TableWorld(sizes)
    await world.merge_for_good([await undone(world)])
    await restore(world, FIRST, 1)
    assert_each_once(world, "a", "b", "c", "d", "e")
    again = await world.segment("r", "s", 1, ["a", "b", "c", "f"], day="2026-03-03")
    await world.merge_for_good([again])
    assert_each_once(world, "a", "b", "c", "d", "e", "f")
    if sizes:
        await check_history(world)


@KINDS
async def test_a_sleeper_cannot_bring_what_a_restore_brings(sizes: Sizes | None) -> None:
    """A merger found a key nowhere and sleeps before its put; a restore brings that key back, and the put fails."""
    world = TableWorld(sizes)
    segment = await undone(world)
    ports, objects = asleep(world)
    dream = asyncio.ensure_future(world.merge([segment], ports))
    await asyncio.wait_for(objects.asleep.wait(), 5)
    world.clock.advance(TTL_S)
    await restore(world, FIRST, 1)
    objects.awake.set()
    await world.merge_for_good(sorted((await dream).failed))
    assert_each_once(world, "a", "b", "c", "d", "e")


@KINDS
async def test_a_lost_file_comes_back_without_what_came_again(sizes: Sizes | None) -> None:
    """While a file is gone its rows may come again into another one; restoring it cures it all the same."""
    world = TableWorld(sizes)
    segment = await undone(world)
    await restore(world, FIRST, 1)
    await world.objects.delete(FIRST.bucket, FIRST.key)
    await world.merge_for_good([segment])
    await restore(world, FIRST, 3)
    assert_each_once(world, "a", "b", "c", "d", "e")


async def test_two_damaged_files_are_restored_one_after_the_other() -> None:
    """Neither waits for the other, and what both versions hold comes back once."""
    world = TableWorld(TINY)
    await world.merge_for_good([await undone(world)])
    for at in (FIRST, SECOND):
        await world.objects.put(at.bucket, at.key, b"not parquet")
    await restore(world, FIRST, 1)
    await restore(world, SECOND, 1)
    assert_each_once(world, "a", "b", "c", "d", "e")


async def test_a_restore_may_die_anywhere() -> None:
    """Killed between any two effects, it is completed by its redelivery."""
    places, number = 1, 0
    while number < places:
        world = TableWorld(TINY)
        await world.merge_for_good([await undone(world)])
        number += 1
        switch = KillSwitch(number)
        try:
            await restore(world, FIRST, 1, world.ports(Effects(switch)))
        except KilledError:
            places = number + 1
        world.clock.advance(TTL_S)
        await restore(world, FIRST, 1)
        assert_each_once(world, "a", "b", "c", "d", "e")


async def test_a_version_that_expired_is_named() -> None:
    """Nothing is changed, and the text says what is not there."""
    world = TableWorld(TINY)
    await undone(world)
    versions = world.objects.buckets[FIRST.bucket].keys[FIRST.key]
    del versions[0]
    before = len(world.objects.puts)
    with pytest.raises(MissingObjectError, match="month=01"):
        await restore(world, FIRST, 1)
    assert len(world.objects.puts) == before
