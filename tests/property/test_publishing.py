"""Bronze holds every version of every record once per generation, whoever dies, sleeps, races or comes twice."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.loads import GroupResult, LandedSegment, LoadManifest
from contracts.pipelines import Pipeline
from contracts.runs import LoadType
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.ports import Known
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.publish_world import TTL_S, Load, Order, PublishWorld, SleepyObjects, entity

FULL, INCREMENTAL, KEYS = LoadType.FULL, LoadType.INCREMENTAL, LoadType.KEYS
SMALL = 700
"""Bytes of a part, so that a handful of rows make several parts and groups."""

FIRST = [[Order(n, at=n, day=n % 4) for n in range(6)], [], [Order(n, at=n, day=n % 2) for n in range(6, 16)]]
SECOND = [[Order(n, at=n, day=n % 4) for n in range(4, 6)] + [Order(n, at=n + 20, day=n % 4) for n in range(3)]]


def small_world(*, leases: bool = True) -> PublishWorld:
    """A world in which loads are written in several groups."""
    return PublishWorld(entity(part_bytes=SMALL), leases=leases)


async def settled(world: PublishWorld, *loads: Load) -> None:
    """Bronze is exact and the runs of these loads have succeeded."""
    world.assert_exact()
    for load in loads:
        await world.assert_balanced(load)


async def test_a_load_becomes_whole() -> None:
    """A load of several segments and days is published once, its increments add what is new, and keys add nothing."""
    world = PublishWorld()
    first = await world.open("r1", FULL, FIRST)
    await world.deliver_for_good(world.arrivals(first))
    second = await world.open("r2", INCREMENTAL, SECOND)
    await world.deliver_for_good(world.arrivals(second))
    third = await world.open("r3", KEYS, [[Order(n) for n in range(9)]])
    await world.deliver_for_good(world.arrivals(third))
    await settled(world, first, second, third)
    assert world.rows(second) == Counter(SECOND[0][2:])
    head = world.checkpoints.table.heads["processed/data/bronze/orders"]
    assert (head.version, head.total_rows) == (3, 19)


async def test_a_full_load_starts_over() -> None:
    """Rows that are in bronze are in a new full load again, and later increments are compared with that one alone."""
    world = PublishWorld()
    for number, load_type in enumerate([FULL, INCREMENTAL, FULL, INCREMENTAL]):
        load = await world.open(f"r{number}", load_type, FIRST)
        await world.deliver_for_good(world.arrivals(load))
        await settled(world, load)
    assert [sum(world.rows(load).values()) for load in world.loads] == [16, 0, 16, 0]


async def places(kind: type[PublishWorld] = PublishWorld) -> int:
    """How many places there are to die at while a load is published and its groups are written."""
    world, switch = kind(entity(part_bytes=SMALL)), KillSwitch()
    load = await world.open("r1", FULL, FIRST[:1])
    ports = world.ports(Effects(switch))
    await world.deliver(world.arrivals(load), ports)
    await world.deliver(world.pending(), ports)
    return len(switch.places)


async def test_dying_anywhere_changes_nothing() -> None:
    """Wherever a merger dies, the redelivered messages finish its load, and no part is ever written differently."""
    for place in range(1, await places() + 1):
        world = small_world()
        first = await world.open("r1", FULL, FIRST[:1])
        ports = world.ports(Effects(KillSwitch(place)))
        bodies = world.arrivals(first)
        try:
            await world.deliver(bodies, ports)
            bodies = world.pending()
            await world.deliver(bodies, ports)
        except KilledError:
            world.clock.advance(TTL_S)
        await world.deliver_for_good(bodies + world.pending())
        await settled(world, first)


async def test_who_finds_a_load_unfinished_finishes_it() -> None:
    """A load whose merger died, and whose messages never come again, is carried out by the next load's merger."""
    for place in range(1, await places() + 1, 3):
        world = small_world()
        first = await world.open("r1", FULL, FIRST[:1])
        ports = world.ports(Effects(KillSwitch(place)))
        try:
            await world.deliver(world.arrivals(first), ports)
            await world.deliver(world.pending(), ports)
        except KilledError:
            world.clock.advance(TTL_S)
        world.pending()
        second = await world.open("r2", INCREMENTAL, SECOND)
        await world.deliver_for_good(world.arrivals(second))
        await settled(world, second, *[load for load in world.published() if load is first])


async def test_a_sleeper_that_wakes_up_late_changes_nothing() -> None:
    """A merger that sleeps before any of its puts, while others publish its load and the next, does no harm."""
    for sleep_at in range(1, 12):
        world = small_world(leases=False)
        first = await world.open("r1", FULL, FIRST)
        effects = Effects()
        objects = SleepyObjects(world.objects, effects, sleep_at)

        async def sleep(world: PublishWorld, first: Load, effects: Effects, objects: SleepyObjects) -> None:
            ports = world.ports(effects, objects)
            await world.deliver(world.arrivals(first), ports)
            await world.deliver(world.pending(), ports)

        sleeper = asyncio.create_task(sleep(world, first, effects, objects))
        waiting = asyncio.create_task(objects.asleep.wait())
        await asyncio.wait({sleeper, waiting}, return_when=asyncio.FIRST_COMPLETED)
        world.clock.advance(TTL_S)
        world.handed_out = 0
        await world.deliver_for_good(world.arrivals(first) + world.pending())
        second = await world.open("r2", INCREMENTAL, SECOND)
        await world.deliver_for_good(world.arrivals(second))
        objects.awake.set()
        await sleeper
        waiting.cancel()
        await world.deliver_for_good(world.arrivals(first))
        await settled(world, first, second)


async def test_rivals_publish_once() -> None:
    """Several mergers that handle the same messages at the same time, without leases, publish one load once."""
    world = small_world(leases=False)
    load = await world.open("r1", FULL, FIRST)
    await asyncio.gather(*(world.deliver(world.arrivals(load)) for _ in range(3)))
    groups = world.pending()
    await asyncio.gather(*(world.deliver(groups) for _ in range(3)))
    await world.deliver_for_good(world.arrivals(load) + groups)
    await settled(world, load)


async def test_lost_tables_are_entered_again() -> None:
    """Manifests alone say what was published: with DynamoDB empty, loads are settled again and none is repeated."""
    world = small_world()
    first = await world.open("r1", FULL, FIRST)
    await world.deliver_for_good(world.arrivals(first))
    second = await world.open("r2", INCREMENTAL, SECOND)
    await world.deliver_for_good(world.arrivals(second))
    world.lose_tables()
    await world.deliver_for_good(world.arrivals(second))
    await settled(world, first, second)
    third = await world.open("r3", INCREMENTAL, SECOND)
    await world.deliver_for_good(world.arrivals(third))
    await settled(world, third)
    assert not world.rows(third)


orders = st.builds(
    Order,
    order_id=st.integers(0, 6),
    at=st.integers(0, 12),
    day=st.integers(0, 3),
    note=st.sampled_from([None, "", "a"]),
)
loads = st.tuples(
    st.sampled_from([FULL, INCREMENTAL, INCREMENTAL, KEYS]),
    st.lists(st.lists(orders, max_size=8), min_size=1, max_size=3),
    st.none() | st.integers(1, 80),
    st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(
    history=st.lists(loads, min_size=1, max_size=5),
    part_bytes=st.sampled_from([500, 10_000_000]),
    kind=st.sampled_from(["postgres", "rest"]),
    leases=st.booleans(),
)
async def test_any_history(
    history: list[tuple[LoadType, list[list[Order]], int | None, bool]], part_bytes: int, kind: str, *, leases: bool
) -> None:
    """Whatever is loaded, wherever a merger dies and whatever comes again, bronze is exact and every run ends once."""
    one_part = kind == "postgres"  # only such a source proves that no record comes twice in a load
    world = PublishWorld(entity(part_bytes=10_000_000 if one_part else part_bytes, kind=kind), leases=leases)
    for number, (load_type, segments, kill_at, lose) in enumerate(history):
        load = await world.open(f"r{number}", load_type, segments)
        bodies = world.arrivals(load)
        try:
            ports = world.ports(Effects(KillSwitch(kill_at)))
            await world.deliver(bodies, ports)
            await world.deliver(world.pending(), ports)
        except KilledError:
            world.clock.advance(TTL_S)
        world.handed_out = 0
        await world.deliver_for_good(bodies + world.pending())
        await settled(world, load)
        if lose:
            world.lose_tables()
        await world.deliver_for_good([body for each in reversed(world.loads) for body in world.arrivals(each)])
        world.assert_exact()


class BlindLoads(S3Loads):
    """Puts manifests without their condition."""

    async def create(self, manifest: LoadManifest) -> None:
        """Overwrite whatever is there."""
        key = f"loads/{manifest.pipeline}/{manifest.version:012d}/manifest.json"
        await self._objects.put(self._bucket, key, manifest.model_dump_json().encode())


class ForgetfulParts(S3Parts):
    """Writes what a generation has already."""

    async def write(
        self, pipeline: Pipeline, manifest: LoadManifest, group: int, segments: Sequence[LandedSegment], known: Known
    ) -> GroupResult:
        """Write as if there were nothing yet."""
        return await super().write(pipeline, manifest, group, segments, replace(known, parts=()))


async def overtaken(world: PublishWorld, *, blind: bool) -> None:
    """A merger sleeps before it puts its manifest; meanwhile another run becomes the version that it had in mind."""
    second = await world.open("r2", FULL, SECOND)
    first = await world.open("r1", FULL, FIRST)
    effects = Effects()
    objects = SleepyObjects(world.objects, effects, 1)
    ports = world.ports(effects, objects)
    if blind:
        ports = replace(ports, loads=BlindLoads(objects, "state"))
    sleeper = asyncio.create_task(world.deliver(world.arrivals(first), ports))
    await objects.asleep.wait()
    await world.deliver_for_good(world.arrivals(second))
    objects.awake.set()
    await sleeper
    await world.deliver_for_good(world.arrivals(first) + world.pending())
    await settled(world, first, second)
    assert world.published() == [second, first]


async def test_who_is_overtaken_takes_the_next_version() -> None:
    """A version is one load's: who comes second decides anew, on top of what came first."""
    await overtaken(small_world(leases=False), blind=False)


async def test_without_the_condition_a_sleeper_does_harm() -> None:
    """The suite notices a manifest that is put without If-None-Match."""
    with pytest.raises(AssertionError):
        await overtaken(small_world(leases=False), blind=True)


async def test_without_what_is_known_rows_come_twice() -> None:
    """The suite notices a merger that does not look at what its generation holds."""
    world = PublishWorld()
    first = await world.open("r1", FULL, FIRST)
    await world.deliver_for_good(world.arrivals(first))
    second = await world.open("r2", INCREMENTAL, SECOND)
    ports = world.ports()
    await world.deliver(world.arrivals(second), replace(ports, parts=ForgetfulParts(ports.objects)))
    with pytest.raises(AssertionError):
        await settled(world, second)
