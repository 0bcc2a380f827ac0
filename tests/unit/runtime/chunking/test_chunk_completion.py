"""Ending a chunked run, over fakes: once, provably, and from wherever the last caller died."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from contracts.runs import RunCompleted, RunFailed, RunState
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import PermanentError, TemporaryError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.runtime.chunking.chunk_world import World


async def world_of(*rows: int) -> World:
    """A planned run with a chunk for each number of rows."""
    world = World(*rows)
    await world.plan()
    assert (await world.run()).planned == len(rows)
    return world


async def test_a_run_ends_with_its_last_chunk() -> None:
    """Not before; then the job's own finish is carried out and the success announced with its rows."""
    world = await world_of(10, 10)
    assert await world.complete() is None
    await world.done("1")
    assert await world.complete() is None
    assert world.publisher.facts == []
    await world.done("0", updated=7, gone=3)
    assert await world.complete() is RunState.SUCCEEDED
    assert (await world.run()).state is RunState.SUCCEEDED
    assert world.tables.finished == ["r1"]
    (message,) = world.publisher.announced()
    fact = RunCompleted(pipeline="report", run_id="r1", state=RunState.SUCCEEDED, records=17)
    assert (message.kind, message.body) == (RunCompleted.kind(), fact.model_dump(mode="json"))


async def test_an_unknown_run_and_one_without_a_plan_do_not_end() -> None:
    """There is nothing to be sure of yet."""
    world = World(10)
    assert await world.complete() is None
    await world.planning.open(world.job, "r1")
    assert await world.complete() is None


async def test_ending_again_repeats_only_the_announcement() -> None:
    """Whoever is handed the last chunk again may find that the success was never heard of."""
    world = await world_of(10)
    await world.done("0")
    assert await world.complete() is RunState.SUCCEEDED
    before = await world.run()
    assert await world.complete() is RunState.SUCCEEDED
    assert await world.run() == before
    assert world.tables.finished == ["r1"]
    assert world.facts() == [RunCompleted.kind()]


async def test_a_failed_chunk_fails_its_run_when_the_others_have_ended() -> None:
    """Siblings go on; then the run ends as failed with the chunks' reasons, and the job's finish is left out."""
    world = await world_of(10, 10, 10)
    await world.chunks.chunk_failed("r1", "1", "division by zero")
    await world.done("0")
    assert await world.complete() is None
    await world.done("2")
    assert await world.complete() is RunState.FAILED
    run = await world.run()
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 3 chunks failed: 1: division by zero")
    assert world.tables.finished == []
    assert world.facts() == [RunFailed.kind()]


async def test_many_failures_are_counted_and_a_few_named() -> None:
    """A reason stays readable, and names the lowest numbers."""
    world = await world_of(*[10] * 12)
    for entry in await world.chunks.chunks("r1"):
        await world.chunks.chunk_failed("r1", entry.chunk_id, "no")
    await world.complete()
    assert (await world.run()).reason == "12 of 12 chunks failed: 0: no; 1: no; 2: no; 3: no; 4: no; and 7 more"


async def test_rows_that_nobody_can_account_for_fail_the_run() -> None:
    """A run that does not balance must never pass for a success."""
    world = await world_of(10, 10)
    await world.done("0")
    await world.done("1", updated=8, gone=1)
    assert await world.complete() is RunState.FAILED
    assert (await world.run()).reason == "ledger does not balance: update: 1 of 20 unaccounted for"
    assert world.tables.finished == []


async def test_a_run_that_failed_and_was_made_whole_succeeds() -> None:
    """The failed chunk turned out to be done: the run goes over from failed to succeeded, and both were announced."""
    world = await world_of(10, 10)
    await world.done("0")
    await world.chunks.chunk_failed("r1", "1", "why")
    assert await world.complete() is RunState.FAILED
    await world.done("1")
    assert await world.complete() is RunState.SUCCEEDED
    run = await world.run()
    assert (run.state, run.reason, run.failed) == (RunState.SUCCEEDED, None, 0)
    assert world.facts() == [RunFailed.kind(), RunCompleted.kind()]


async def test_a_cancelled_run_stays_cancelled() -> None:
    """What was under way is done and counted, but nothing is announced that an operator did not want."""
    world = await world_of(10)
    await world.ledger.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
    await world.done("0")
    assert await world.complete() is RunState.CANCELLED
    assert (await world.run()).state is RunState.CANCELLED
    assert world.publisher.facts == []
    assert world.tables.finished == []


@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_that_is_cancelled_meanwhile_stays_cancelled(*, fails: bool) -> None:
    """Cancelled while its end was being proved: neither a success nor a failure is announced."""
    world = await world_of(10, 10)
    await world.done("0")
    await (world.chunks.chunk_failed("r1", "1", "why") if fails else world.done("1"))
    world.process(Effects(_meanwhile(world, f"before finish run r1 as {'failed' if fails else 'succeeded'}")))
    await world.complete()
    assert (await world.run()).state is RunState.CANCELLED
    assert world.publisher.facts == []


def _meanwhile(world: World, place: str) -> Callable[[str], None]:
    def cancel(reached: str) -> None:
        if reached == place:
            world.end(RunState.CANCELLED)

    return cancel


async def test_a_chunk_that_was_opened_again_keeps_its_run_open() -> None:
    """The counts were read before, the chunks after: what is planned again is not over."""
    world = await world_of(10)
    await world.chunks.chunk_failed("r1", "0", "why")
    entry = world.ledger.table.chunks["r1", "0"]
    world.ledger.table.chunks["r1", "0"] = replace(entry, state=ChunkState.PLANNED)
    assert await world.complete() is None
    assert (await world.run()).state is RunState.RUNNING


@pytest.mark.parametrize("error", [PermanentError("no such table"), TemporaryError("connection lost")])
async def test_a_finish_that_does_not_succeed_leaves_the_run_open(error: PermanentError | TemporaryError) -> None:
    """A success is what has been finished: the next one to try ends the run."""
    world = await world_of(10)
    await world.done("0")
    world.tables.refuses = error
    with pytest.raises(type(error)):
        await world.complete()
    assert (await world.run()).state is RunState.RUNNING
    assert world.publisher.facts == []
    world.tables.refuses = None
    assert await world.complete() is RunState.SUCCEEDED


@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_ends_wherever_the_last_one_died(*, fails: bool) -> None:
    """Killed before or after any effect, the next one to try ends the run the same way, announced at least once."""
    kill_at, dead = 0, True
    while dead:
        kill_at += 1
        world = await world_of(10, 10)
        await world.done("0")
        await (world.chunks.chunk_failed("r1", "1", "why") if fails else world.done("1"))
        switch = KillSwitch(kill_at)
        world.process(Effects(switch))
        try:
            await world.complete()
        except KilledError:
            world.process()
            await world.complete()
        dead = switch.dead
        assert (await world.run()).state is (RunState.FAILED if fails else RunState.SUCCEEDED)
        assert world.facts() == [(RunFailed if fails else RunCompleted).kind()]
        assert set(world.tables.finished) == (set() if fails else {"r1"})
    assert kill_at > 4
