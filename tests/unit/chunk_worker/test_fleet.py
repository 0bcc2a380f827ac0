"""Any mixture of deliveries, deaths, lost answers, trouble and pauses, and then somebody who brings it to its end."""

import asyncio
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.runs import RunState
from services.runtime.failures import PermanentError, TemporaryError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.network import Fate, ScriptedNetwork
from tests.unit.chunk_worker.world import RUN, TTL_S, World

CHUNKS = ("0", "1", "2")
EVENTS = ("deliver", "die", "lose request", "lose answer", "refuse", "break", "pause", "resume", "wait")
Event: TypeAlias = tuple[str, str, int]

events = st.lists(
    st.tuples(
        st.sampled_from(
            ["deliver", "die", "lose request", "lose answer", "refuse", "break", "pause", "resume", "wait"]
        ),
        st.sampled_from([*CHUNKS, "0.1", "2.2"]),
        st.integers(1, 24),
    ),
    max_size=14,
)


async def happens(world: World, event: Event) -> None:
    """Let one thing happen."""
    name, chunk_id, number = event
    command = world.chunk(chunk_id.partition(".")[0])
    if name == "deliver":
        await world.deliver(command, receives=number)
    elif name == "die":
        try:
            await world.deliver(command, ports=world.ports(Effects(KillSwitch(number))))
        except KilledError:
            world.clock.advance(number * 10)
    elif name.startswith("lose"):
        network = ScriptedNetwork()
        network.next(*[Fate.DELIVERED] * number, Fate.ANSWER_LOST if name == "lose answer" else Fate.REQUEST_LOST)
        await world.deliver(command, ports=world.ports(Effects(network=network)))
    elif name in {"pause", "resume"}:
        await world.ledger.pause_run(RUN, paused=name == "pause")
    elif name == "refuse":
        world.database.fail(f"update {chunk_id}", *[PermanentError("division by zero")] * (number % 5))
    elif name == "break":
        world.database.fail(f"update {chunk_id}", TemporaryError("connection lost"))
    else:
        world.clock.advance(number * 10)


async def brought_to_its_end(world: World) -> None:
    """An operator lets the run go on and sends what is not done again, until it has succeeded."""
    world.database.trouble.clear()
    world.clock.advance(TTL_S + 1)
    await world.ledger.pause_run(RUN, paused=False)
    for _ in range(3):
        for chunk_id in CHUNKS:
            await world.drive(world.chunk(chunk_id), receives=2)
        if (await world.run()).state is RunState.SUCCEEDED:
            return
    raise AssertionError(f"it does not end: {await world.run()}")


@given(happened=events)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_each_key_is_worked_on_once(happened: list[Event]) -> None:
    """The run succeeds in the end, its ledger balances, and no key was left out or worked on twice."""

    async def story() -> None:
        world = World(keys=6)
        await world.plan()
        for event in happened:
            await happens(world, event)
            assert world.times_done() <= {0, 1}
        await brought_to_its_end(world)
        await world.succeeded(records=30)

    asyncio.run(story())
