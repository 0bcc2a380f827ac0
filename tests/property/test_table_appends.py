"""A table whose files are appended to is, commit by commit, the one that rewriting would have made."""

import asyncio
from collections import Counter
from copy import deepcopy

import pyarrow as pa
import pytest
from hypothesis import given, settings

from services.runtime.failures import TidegateError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.table_checks import check_history
from tests.property.table_mutants import MUTANTS
from tests.property.table_walk import TableWalk
from tests.property.table_world import TINY, TTL_S, TableWorld
from tests.property.test_table_merges import BATCHES, Batch, walk

pytestmark = pytest.mark.usefixtures("quiet")


async def grown() -> tuple[TableWorld, list[str]]:
    """A table of two files with a few groups each, and a run whose rows go among and behind them."""
    world = TableWorld(TINY)
    await world.open_run("p", 4)
    for number in range(2):
        await world.merge_for_good(
            [
                await world.segment("p", f"s{number}", 1, [f"a{number}{i}" for i in range(4)], second=4 * number),
                await world.segment("p", f"u{number}", 2, [f"b{number}{i}" for i in range(3)], second=3 * number),
            ]
        )
    await world.open_run("r", 2)
    keys = ["a11", "new", "b00", "c", "c"]
    return world, [
        await world.segment("r", "s1", 1, keys, second=6),
        await world.segment("r", "s2", 2, ["d", "new", "a03"], second=9),
    ]


async def test_only_the_end_of_a_file_changes() -> None:
    """Rows that are newer than most leave the beginning of each file byte for byte as it is."""
    world, keys = await grown()
    bucket = world.objects.buckets["processed"]
    before = {name: bucket.current(name) for name in bucket.keys}
    assert not (await world.merge(keys)).failed
    for name, stored in before.items():
        after = bucket.current(name)
        assert stored is not None
        assert after is not None
        assert after.info.etag != stored.info.etag
        assert after.body[:1_000] == stored.body[:1_000]
    world.assert_exact()
    assert set(await check_history(world)) == {"laid out"}


@pytest.mark.parametrize("first", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)])
async def test_a_merger_may_die_anywhere(first: int) -> None:
    """Killed between any two effects, parts and completions included: the redelivery completes it, a rival or not."""
    alive, keys = await grown()
    switch, world = KillSwitch(), deepcopy(alive)
    await world.merge(keys, world.ports(Effects(switch)))
    for place in range(first, len(switch.places) + 1, 3):
        world = deepcopy(alive)
        with pytest.raises(KilledError):
            await world.merge(keys, world.ports(Effects(KillSwitch(place))))
        world.clock.advance(TTL_S)
        if place % 2:
            await world.open_run("q", 1)
            await world.merge_for_good([await world.segment("q", "t1", 2, ["new", "x", "b02"], second=1)])
            await world.assert_balanced("q")
        await world.merge_for_good(keys)
        world.assert_exact()
        await world.assert_balanced("r")
        await check_history(world)


@settings(max_examples=25, deadline=None)
@given(runs=BATCHES)
def test_any_sequence_of_runs_kills_and_redeliveries_is_exact(runs: list[tuple[Batch, int | None, bool]]) -> None:
    """The same sequences as for rewrites, all of them into the same files."""
    world = TableWorld(TINY)
    asyncio.run(walk(world, runs, days=1))
    asyncio.run(check_history(world))


async def test_many_merges_in_a_row() -> None:
    """Mergers that remember, die and sleep, and files of others: every commit is what the naive merge makes of it."""
    world = TableWorld(TINY)
    await TableWalk(world, seed=0).walk(60)
    kinds = Counter(await check_history(world))
    assert kinds["laid out"] > 60
    assert kinds["foreign"] > 2
    assert kinds["plain"] < 5, "only what is restored to nothing, or to another writer's file, is not laid out"


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 9))
async def test_many_more_merges_in_a_row(seed: int) -> None:
    """The same for as long as there is time."""
    world = TableWorld(TINY)
    await TableWalk(world, seed).walk(400)
    await check_history(world)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_random_merges_find_a_broken_step(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one step, some merge of a few rows of them goes wrong where we see it."""
    monkeypatch.setattr(*MUTANTS[mutant])
    with pytest.raises((AssertionError, TidegateError, pa.ArrowException, OSError)):
        await _some_walks()


async def _some_walks() -> None:
    for seed in range(8):
        world = TableWorld(TINY)
        await TableWalk(world, seed).walk(30)
        await check_history(world)
