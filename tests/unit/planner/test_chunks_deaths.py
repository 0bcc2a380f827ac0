"""Planners of chunked runs that die anywhere: whoever gets the request next continues them."""

import pytest

from contracts.runs import RunState
from services.runtime.failures import PermanentError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.network import Fate, ScriptedNetwork
from tests.unit.planner.chunking import THREE, World, request, three_chunks


async def test_a_planner_that_dies_anywhere_is_continued() -> None:
    """Wherever it dies: one snapshot, one plan, every chunk dispatched, and a run before it overtaken once."""

    async def started() -> World:
        world = three_chunks()
        await world.plan("r0")
        world.publisher.sent["chunk-jobs"].clear()
        world.clock.advance(900)
        return three_chunks(world)

    switch = KillSwitch()
    await (await started()).deliver(request("r1"), effects=Effects(switch))
    assert len(switch.places) > 30
    for place in range(1, len(switch.places) + 1):
        world = await started()
        with pytest.raises(KilledError):
            await world.deliver(request("r1"), effects=Effects(KillSwitch(place)))
        world.keys(7)
        world.clock.advance(61)
        plan_was_free = "r1" not in [run_id for run_id, _ in world.tables.taken]
        await world.plan("r1", receives=2)
        assert [run_id for run_id, _ in world.tables.taken] == ["r0", "r1"]
        expected = [("r1", "0")] if plan_was_free else THREE
        assert sorted(set(world.commands())) == expected
        await world.work()
        run = world.run("r1")
        assert (run.state, run.settled) == (RunState.SUCCEEDED, len(expected))
        assert [fact["run_id"] for fact in world.facts("RunFailed")] == ["r0"]
        assert [fact["records"] for fact in world.facts("RunCompleted")] == [7 if plan_was_free else 30]


@pytest.mark.parametrize("resume", [False, True])
async def test_a_planner_that_dies_while_a_run_is_planned_anew_is_continued(*, resume: bool) -> None:
    """A run that failed before it had a plan gets one, whoever asks for it."""

    async def failed() -> World:
        world = three_chunks()
        world.tables.trouble["distribution"] = PermanentError("no")
        await world.plan("r1")
        world.tables.trouble.clear()
        return world

    switch = KillSwitch()
    await (await failed()).deliver(request("r1", resume=resume), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = await failed()
        with pytest.raises(KilledError):
            await world.deliver(request("r1", resume=resume), effects=Effects(KillSwitch(place)))
        world.clock.advance(61)
        await world.plan("r1", resume=resume, receives=2)
        assert set(world.commands()) == set(THREE)
        await world.work()
        assert (world.run("r1").state, len(world.tables.taken)) == (RunState.SUCCEEDED, 1)


@pytest.mark.parametrize("resume", [False, True])
async def test_a_planner_that_dies_while_a_run_goes_on_is_continued(*, resume: bool) -> None:
    """Every unfinished chunk is asked for, whether or not the run counted as running again by then."""

    async def failed() -> World:
        world = three_chunks()
        await world.plan("r1")
        await world.work(failing=["0", "2"])
        return world

    switch = KillSwitch()
    await (await failed()).deliver(request("r1", resume=resume), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = await failed()
        with pytest.raises(KilledError):
            await world.deliver(request("r1", resume=resume), effects=Effects(KillSwitch(place)))
        world.clock.advance(61)
        await world.plan("r1", resume=resume, receives=2)
        assert set(world.commands()) == {("r1", "0"), ("r1", "2")}
        await world.work()
        assert (world.run("r1").state, world.run("r1").settled, world.run("r1").failed) == (RunState.SUCCEEDED, 3, 0)


async def test_a_planner_that_dies_while_a_run_fails_is_continued() -> None:
    """The failure is in the ledger and announced, whatever was done of it."""

    async def started() -> World:
        world = three_chunks()
        world.tables.trouble["prepare"] = PermanentError("no")
        return world

    switch = KillSwitch()
    await (await started()).deliver(request("r1"), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = await started()
        with pytest.raises(KilledError):
            await world.deliver(request("r1"), effects=Effects(KillSwitch(place)))
        world.clock.advance(61)
        run = await world.plan("r1", receives=2)
        assert (run.state, run.reason, len(world.facts("RunFailed"))) == (RunState.FAILED, "no", 1)


async def test_a_planner_that_dies_with_nothing_to_do_is_continued() -> None:
    """The run succeeds, and that is announced."""
    switch = KillSwitch()
    await World().deliver(request("r1"), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = World()
        with pytest.raises(KilledError):
            await world.deliver(request("r1"), effects=Effects(KillSwitch(place)))
        world.clock.advance(61)
        assert (await world.plan("r1", receives=2)).state is RunState.SUCCEEDED
        assert (len(world.facts("RunCompleted")), len(world.tables.taken)) == (1, 1)


async def test_a_message_from_the_dead_letter_queue_goes_on() -> None:
    """It counts as received once; chunks that were never asked for are asked for all the same."""
    switch = KillSwitch()
    await three_chunks().deliver(request("r1"), effects=Effects(switch))
    at_sending = switch.places.index("before send 3 to chunk-jobs") + 1
    world = three_chunks()
    with pytest.raises(KilledError):
        await world.deliver(request("r1"), effects=Effects(KillSwitch(at_sending)))
    world.clock.advance(61)
    assert (await world.plan("r1", receives=1)).state is RunState.RUNNING
    assert world.commands() == THREE


async def test_a_lost_ledger_finds_the_plan_again() -> None:
    """The run is opened anew with the chunks that were planned; the database knows which of them are done."""
    world = three_chunks()
    await world.plan("r1")
    plan = world.kept("r1")
    world.ledger.table.runs.clear()
    world.ledger.table.chunks.clear()
    world.publisher.sent["chunk-jobs"].clear()
    world.keys(1)
    assert (await world.plan("r1")).planned == 3
    assert (world.kept("r1"), world.commands(), len(world.tables.taken)) == (plan, THREE, 1)


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
async def test_lost_requests_and_answers_change_nothing(fate: Fate) -> None:
    """Whichever call fails, done or not: the next receive of the request makes the same of it."""
    whole = Effects()
    await three_chunks().deliver(request("r1"), effects=whole)
    for place in range(len(whole.performed)):
        world, network = three_chunks(), ScriptedNetwork()
        network.next(*[Fate.DELIVERED] * place, fate)
        await world.deliver(request("r1"), effects=Effects(network=network))
        world.clock.advance(61)
        await world.plan("r1", receives=2)
        assert (set(world.commands()), len(world.tables.taken)) == (set(THREE), 1)
        await world.work()
        assert (world.run("r1").state, world.run("r1").settled) == (RunState.SUCCEEDED, 3)
