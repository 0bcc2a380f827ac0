"""A table holds each unique key once, whoever dies, sleeps or comes twice while its files are written."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.runs import RunState
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.property.table_sleepers import asleep
from tests.property.table_world import TTL_S, TableWorld


async def two_months(world: TableWorld) -> list[str]:
    """A run of three segments over two files; key b is in both files' segments, c is twice in one."""
    await world.open_run("r", 3)
    return [
        await world.segment("r", "s1", 1, ["a", "b"]),
        await world.segment("r", "s2", 2, ["b", "c", "c", "d"], bad=1),
        await world.segment("r", "s3", 2, []),
    ]


async def test_rows_of_several_months_go_to_their_files_once() -> None:
    """A key in two files' segments, and one that is twice in a segment, are each merged once; the ledger adds up."""
    world = TableWorld()
    assert not (await world.merge(await two_months(world))).failed
    assert Counter(key for key, _ in world.rows()) == Counter("abcd")
    await world.assert_balanced("r")
    assert sorted(world.objects.buckets["processed"].keys) == [
        "processed/month=01/data_2026-03-01.parquet",
        "processed/month=02/data_2026-03-01.parquet",
    ]


async def test_a_later_run_adds_only_what_no_file_holds() -> None:
    """Rows read again in the lag window are duplicates, also when their run writes to another file or month."""
    world = TableWorld()
    await world.merge(await two_months(world))
    await world.open_run("q", 2)
    again = [
        await world.segment("q", "t1", 1, ["a", "e"], day="2026-03-02"),
        await world.segment("q", "t2", 3, ["d", "f"], day="2026-03-02"),
    ]
    assert not (await world.merge(again)).failed
    world.assert_exact()
    await world.assert_balanced("q")
    assert {said_by for key, said_by in world.rows() if key in "abcd"} <= {"r/s1", "r/s2"}


async def test_a_redelivered_batch_changes_nothing() -> None:
    """Segments that are settled are left alone: no file gets a new version."""
    world = TableWorld()
    keys = await two_months(world)
    await world.merge(keys)
    before = len(world.objects.puts)
    assert not (await world.merge(keys)).failed
    assert len(world.objects.puts) == before


async def test_nothing_new_commits_nothing() -> None:
    """A run whose rows are all known succeeds without touching a file."""
    world = TableWorld()
    await world.merge(await two_months(world))
    before = [info for bucket, info in world.objects.puts if bucket == "processed"]
    await world.open_run("q", 1)
    assert not (await world.merge([await world.segment("q", "t1", 2, ["b", "a"])])).failed
    assert [info for bucket, info in world.objects.puts if bucket == "processed"] == before
    run = await world.ledger.run("q")
    assert run is not None
    assert run.state is RunState.SUCCEEDED


async def places() -> int:
    """How many places there are to die at while the batch is merged."""
    world, switch = TableWorld(), KillSwitch()
    keys = await two_months(world)
    await world.merge(keys, world.ports(Effects(switch)))
    return len(switch.places)


@pytest.mark.parametrize("rival", [False, True], ids=["redelivered", "a-rival-first"])
async def test_a_merger_may_die_anywhere(*, rival: bool) -> None:
    """Killed between any two effects: the redelivery completes it, also if another run's segments come in between.

    The rival carries the same keys to other files, where a half-made commit must not come true afterwards.
    """
    for place in range(1, await places() + 1):
        world, switch = TableWorld(), KillSwitch(place)
        keys = await two_months(world)
        try:
            await world.merge(keys, world.ports(Effects(switch)))
        except KilledError:
            world.clock.advance(TTL_S)
        if rival:
            await world.open_run("q", 1)
            await world.merge_for_good([await world.segment("q", "t1", 3, ["b", "d", "x"], day="2026-03-02")])
        await world.merge_for_good(keys)
        world.assert_exact()
        await world.assert_balanced("r")
        if rival:
            await world.assert_balanced("q")


@pytest.mark.parametrize("first", [True, False], ids=["new-file", "known-file"])
async def test_a_merger_that_sleeps_past_its_lease_cannot_double_a_key(*, first: bool) -> None:
    """It slept between its last look at the lease and its put; by now a rival brought the key in another file."""
    world = TableWorld()
    if not first:
        await world.open_run("p", 1)
        await world.merge([await world.segment("p", "s0", 1, ["z"])])
    await world.open_run("r", 1)
    keys = [await world.segment("r", "s1", 1, ["a", "b"])]
    sleeper, objects = asleep(world)
    dream = asyncio.ensure_future(world.merge(keys, sleeper))
    await objects.asleep.wait()
    world.clock.advance(TTL_S)
    await world.open_run("q", 1)
    await world.merge_for_good([await world.segment("q", "t1", 2, ["b", "c"], day="2026-03-02")])
    objects.awake.set()
    await dream
    await world.merge_for_good(keys)
    world.assert_exact()
    await world.assert_balanced("r")
    await world.assert_balanced("q")


Batch = list[tuple[int, list[str]]]
SEGMENTS = st.tuples(st.integers(1, 3), st.lists(st.sampled_from("abcdefgh"), max_size=4))
BATCHES = st.lists(
    st.tuples(
        st.lists(SEGMENTS, min_size=1, max_size=3),
        st.one_of(st.none(), st.integers(1, 60)),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(runs=BATCHES)
def test_any_sequence_of_runs_kills_and_redeliveries_is_exact(runs: list[tuple[Batch, int | None, bool]]) -> None:
    """Runs over overlapping keys, each killed somewhere or not, redelivered at once or only at the end."""
    asyncio.run(walk(TableWorld(), runs, days=len(runs)))


async def walk(world: TableWorld, runs: list[tuple[Batch, int | None, bool]], *, days: int) -> None:
    """Merge the runs, on so many days in turn; at the end everything was redelivered, and the table is exact."""
    late: list[str] = []
    for number, (segments, kill_at, at_once) in enumerate(runs):
        run_id = f"r{number}"
        await world.open_run(run_id, len(segments))
        keys = [
            await world.segment(run_id, f"s{i}", month, carried, day=f"2026-03-{number % days + 1:02}")
            for i, (month, carried) in enumerate(segments)
        ]
        try:
            outcome = await world.merge(keys, world.ports(Effects(KillSwitch(kill_at))))
            keys = sorted(outcome.failed)
        except KilledError:
            world.clock.advance(TTL_S)
        if at_once:
            await world.merge_for_good(keys)
        else:
            late += keys
    await world.merge_for_good(late)
    world.assert_exact()
    for number in range(len(runs)):
        await world.assert_balanced(f"r{number}")
