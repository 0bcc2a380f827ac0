"""Batches of commands, over fakes, when nothing goes wrong."""

import asyncio

import pytest
from structlog.testing import capture_logs

from contracts.fetching import KeyRange
from contracts.runs import RunState
from services.fetcher.use_case import fetch_batch
from services.runtime.datasets import Block, Position
from services.runtime.ledger import Step
from tests.fakes.effects import Effects
from tests.fakes.telemetry import Point
from tests.unit.fetcher.world import (
    DAY,
    NAME,
    RAW,
    RUN_ID,
    OtherPages,
    World,
    at,
    command,
    declared,
    delivery,
    key_of,
    row,
)


async def test_a_segment_is_one_object(world: World) -> None:
    """Every row of the range, in order, as one compressed object, and the ledger knows how many there are."""
    await world.begin()
    outcome = await world.fetch(command(expected=10))
    assert not outcome.failed
    assert world.keys() == list(range(10))
    assert world.rows() == world.dataset.rows[:10]
    entry = await world.entry()
    assert (entry.step, entry.fetched, entry.raw_location) == (Step.FETCHED, 10, f"{RAW}/{key_of()}")


async def test_what_is_reported(world: World) -> None:
    """Rows, uncompressed bytes and time, by pipeline; and one line with the ids of the segment."""
    await world.begin()
    with capture_logs() as lines:
        await world.fetch(command(expected=10))
    size = sum(len(line) for line in (await world.dataset.page(DAY, None, 10)).lines.splitlines(keepends=True))
    mine = (("pipeline", NAME),)
    assert world.telemetry.published == [
        Point("RowsIn", 10, "Count", mine),
        Point("RowsOut", 10, "Count", mine),
        Point("BytesFetched", size, "Bytes", mine),
        Point("FetchTime", 0.0, "Milliseconds", mine),
    ]
    (line,) = [line for line in lines if line["event"] == "segment fetched"]
    assert (line["rows"], line["expected"], line["bytes"]) == (10, 10, size)


@pytest.mark.parametrize("cap", [None, 1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
async def test_pages_of_any_size(batch_size: int, cap: int | None) -> None:
    """Twelve rows at one instant and five around it are read once each, however the pages cut them."""
    rows = [row(n, 5 if 2 <= n < 14 else n) for n in range(17)]
    world = World(declared(batch_size=batch_size), rows, cap=cap)
    await world.begin()
    await world.fetch(command(expected=17))
    assert sorted(world.keys()) == list(range(17))


async def test_more_rows_than_were_counted() -> None:
    """Rows that were published since the plan are fetched as well, also where the source caps its pages."""
    world = World(declared(batch_size=10), [row(n, n) for n in range(17)], cap=5)
    await world.begin()
    await world.fetch(command(expected=5))
    assert world.keys() == list(range(17))


async def test_only_the_range() -> None:
    """Rows outside the range belong to other segments."""
    world = World(rows=[row(n, n) for n in range(6)])
    await world.begin()
    await world.fetch(command(range=KeyRange(start=at(2), before=at(5))))
    assert world.keys() == [2, 3, 4]


async def test_an_empty_range(world: World) -> None:
    """A range without rows is an empty object, so that its segment is validated like any other."""
    await world.begin()
    await world.fetch(command(range=KeyRange(start="2025-03-01T00:00:00.000", to="2025-03-02T00:00:00.000")))
    assert world.rows() == []
    assert (await world.entry()).fetched == 0


async def test_a_bucket_of_its_own() -> None:
    """A source may name the bucket of its raw objects."""
    world = World(declared(bucket="other"), [row(1)])
    await world.begin()
    await world.fetch(command())
    assert world.stored() is None
    assert world.stored(bucket="other") is not None
    assert (await world.entry()).raw_location == f"other/{key_of()}"


async def test_a_redelivery_reads_nothing(world: World) -> None:
    """What was fetched once stands, though the source has changed: only the ledger's entry is repeated."""
    await world.begin()
    await world.fetch(command(expected=10))
    before, entry = world.stored(), await world.entry()
    world.dataset.publish(row(77, 1), row(3, 3, status="Closed"))
    world.dataset.withdraw("00000005")
    effects = Effects()
    outcome = await world.again(command(expected=10), effects=effects)
    assert not outcome.failed
    assert effects.performed == [f"fetched segment {RUN_ID}/s1"]
    assert (world.stored(), await world.entry()) == (before, entry)


async def test_two_deliveries_at_once(world: World) -> None:
    """Of two fetches of one segment one creates the object, and both enter its rows, not their own."""
    await world.begin()
    twins = [delivery(command(), name=name) for name in ("first", "second")]
    outcome = await fetch_batch(world.ports(), twins)
    assert not outcome.failed
    assert len(world.objects.puts) == 1
    assert world.keys() == list(range(10))


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.SUCCEEDED])
async def test_a_run_that_is_over(world: World, state: RunState) -> None:
    """Nothing is fetched for a run that has ended; the delivery is done."""
    await world.begin(state)
    effects = Effects()
    with capture_logs() as lines:
        outcome = await world.fetch(command(), effects=effects)
    assert not outcome.failed
    assert effects.performed == []
    assert [line["state"] for line in lines] == [state]


async def test_a_run_that_is_still_planned(world: World) -> None:
    """Commands are sent before the run starts, so a run in planning is fetched for."""
    await world.begin(RunState.PLANNING)
    await world.fetch(command())
    assert (await world.entry()).fetched == 10


async def test_a_batch_is_fetched_side_by_side(world: World) -> None:
    """The first page of each of four commands is asked for before any of them is answered."""
    segments = ("s1", "s2", "s3", "s4")
    await world.begin(RunState.RUNNING, *segments)
    all_asked = asyncio.Barrier(len(segments))

    class Together(OtherPages):
        async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
            if after is None:
                await all_asked.wait()
            return await super().page(within, after, limit)

    async with asyncio.timeout(10):
        outcome = await world.fetch(*map(command, segments), datasets=Together(world))
    assert not outcome.failed
    assert [world.keys(segment) for segment in segments] == [list(range(10))] * 4
