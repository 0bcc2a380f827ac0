"""A worker may die between any two things that it does."""

from collections.abc import Awaitable, Callable

import pytest

from contracts.chunks import ActionName
from contracts.envelope import Payload
from contracts.runs import RunState
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.network import Fate, ScriptedNetwork
from tests.unit.chunk_worker.world import RUN, TOKEN, TTL_S, World, broken

MOST_PLACES = 80
Prepare = Callable[[World], Awaitable[Payload]]


async def plain(world: World) -> Payload:
    """The last chunk of a run."""
    await world.plan()
    await world.deliver(world.chunk("1"))
    return world.chunk("0")


async def waited_for(world: World) -> Payload:
    """The same, and a state machine waits for it."""
    await plain(world)
    return world.chunk("0", token=TOKEN)


async def split(world: World) -> Payload:
    """A chunk that has failed three times."""
    await plain(world)
    world.database.row(RUN, "0").attempts = 3
    return world.chunk("0")


async def redriven(world: World) -> Payload:
    """A chunk that has failed, half of it done, and with it the run."""
    await plain(world)
    world.database.row(RUN, "0").attempts = 3
    world.database.fail("update 0.1", *broken(1))
    await world.deliver(world.chunk("0"))
    assert (await world.run()).state is RunState.FAILED
    return world.chunk("0")


async def whole(world: World) -> Payload:
    """The whole run in one action."""
    ports = world.ports()
    await ports.planning.open(world.job, RUN)
    await world.act("task_01", run_id=RUN)
    return world.action(ActionName.TASK_02, run_id=RUN, token=TOKEN)


@pytest.mark.parametrize("prepare", [plain, waited_for, split, redriven, whole])
async def test_each_key_is_worked_on_once(prepare: Prepare) -> None:
    """Wherever a worker dies, the next delivery of its message brings the run to its end, and nothing is done twice."""
    for place in range(1, MOST_PLACES):
        world = World()
        command = await prepare(world)
        switch = KillSwitch(place)
        try:
            await world.deliver(command, ports=world.ports(Effects(switch)))
        except KilledError:
            world.clock.advance(TTL_S + 1)
            await world.drive(command, receives=2)
        where = switch.places[-1]
        assert world.times_done() == {1}, where
        await world.succeeded(records=20)
        if getattr(command, "task_token", None) is not None:
            assert world.answers.told[TOKEN][0] == "succeeded", where
        if not switch.dead:
            assert place > 10
            return
    pytest.fail("there are more places to die at")


@pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
@pytest.mark.parametrize("prepare", [plain, waited_for, split, redriven])
async def test_what_gets_lost_on_the_way(prepare: Prepare, fate: Fate) -> None:
    """Whatever request or answer of a worker is lost, the run comes to its end, and nothing is done twice."""
    for place in range(MOST_PLACES):
        world = World()
        command = await prepare(world)
        network = ScriptedNetwork()
        network.next(*[Fate.DELIVERED] * place, fate)
        outcome = await world.deliver(command, ports=world.ports(Effects(network=network)))
        if outcome.failed:
            world.clock.advance(TTL_S + 1)
            await world.drive(command, receives=2)
        await world.succeeded(records=20)
        if getattr(command, "task_token", None) is not None:
            assert world.answers.told[TOKEN][0] == "succeeded"
        if network.carried <= place:
            assert place > 5
            return
    pytest.fail("there is more that can get lost")


async def test_a_chunk_that_fails_reaches_the_dlq() -> None:
    """Wherever a worker dies that gives a chunk up, the message is in the DLQ in the end, and the run has failed."""
    for place in range(1, MOST_PLACES):
        world = World(keys=3)
        await world.plan()
        await world.deliver(world.chunk("0"))
        world.database.row(RUN, "1").attempts = 3
        world.database.fail("update 1", *broken(9))
        switch = KillSwitch(place)
        try:
            await world.deliver(world.chunk("1"), ports=world.ports(Effects(switch)))
        except KilledError:
            world.clock.advance(TTL_S + 1)
            await world.drive(world.chunk("1"), receives=2)
        assert world.dead(), switch.places[-1]
        run = await world.run()
        assert (run.state, run.failed, run.settled) == (RunState.FAILED, 1, 1), switch.places[-1]
        assert ("RunFailed", run.reason) in world.facts()
        if not switch.dead:
            return
    pytest.fail("there are more places to die at")
