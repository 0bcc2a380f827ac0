"""Batches of commands when the source refuses, somebody else is faster, or the process ends."""

from collections.abc import Callable

import pytest

from contracts.envelope import Message
from contracts.fetching import KeyRange
from contracts.runs import PlanRun, RunState
from services.fetcher.use_case import fetch_batch
from services.runtime.datasets import Block, Datasets, Position
from services.runtime.deliveries import Delivery
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Step
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.network import Fate, ScriptedNetwork
from tests.unit.fetcher.world import (
    NAME,
    RAW,
    RUN_ID,
    OtherPages,
    World,
    command,
    delivery,
    key_of,
)

SAYS = "GET https://data.example/resource/erm2-nwe9.json: 400: No such column: no_such_column"


def raising(error: Exception, *, at_request: int = 1) -> Callable[[World], Datasets]:
    """Datasets that raise at this request and every later one."""
    return lambda world: OtherPages(world, lambda number: error if number >= at_request else None)


async def test_another_delivery_was_faster(world: World) -> None:
    """Who finds at the put that the object is there drops what it read and enters the rows that are there."""
    await world.begin()
    other = b"\x1f\x8b"

    class Meanwhile(OtherPages):
        async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
            if after is None:
                await world.objects.put(RAW, key_of(), other, metadata={"tidegate-rows": "3"})
            return await super().page(within, after, limit)

    outcome = await world.fetch(command(), datasets=Meanwhile(world))
    assert not outcome.failed
    found = world.stored()
    assert found is not None
    assert found.body == other
    assert (await world.entry()).fetched == 3
    read = {point.name: point.value for point in world.telemetry.published}
    assert read == {"RowsIn": 10, "Duplicates": 10}


@pytest.mark.parametrize("fate", [Fate.REPEATED, Fate.ANSWER_LOST])
async def test_a_put_nobody_heard(world: World, fate: Fate) -> None:
    """A put that succeeded unheard is found, by the same delivery or by the next one, and not made again."""
    await world.begin()
    network = ScriptedNetwork()
    network.next(*[Fate.DELIVERED] * 3, fate)
    outcome = await world.fetch(command(expected=10), effects=Effects(network=network))
    assert outcome.failed == ({"s1": None} if fate is Fate.ANSWER_LOST else {})
    await world.again(command(expected=10))
    assert world.keys() == list(range(10))
    assert (await world.entry()).fetched == 10


@pytest.mark.parametrize("metadata", [{}, {"tidegate-rows": ""}, {"tidegate-rows": "-1"}, {"tidegate-rows": "²"}])
async def test_an_object_of_somebody_else(world: World, metadata: dict[str, str]) -> None:
    """Something foreign at the segment's key is never replaced: the run fails and says where it is."""
    await world.begin()
    await world.objects.put(RAW, key_of(), b"?", metadata=metadata)
    outcome = await world.fetch(command())
    assert not outcome.failed
    found = await world.run()
    assert found.state is RunState.FAILED
    assert found.reason is not None
    assert key_of() in found.reason


async def test_the_source_refuses(world: World) -> None:
    """A refusal fails the run with the source's own words; the delivery is done, and no object is left behind."""
    await world.begin()
    outcome = await world.fetch(command(), datasets=raising(PermanentError(SAYS), at_request=2)(world))
    assert not outcome.failed
    found = await world.run()
    assert (found.state, found.reason) == (RunState.FAILED, SAYS)
    assert world.facts() == [("RunFailed", SAYS)]
    assert world.objects.puts == []
    assert (await world.entry()).step is Step.PLANNED


async def test_a_source_that_turns_in_circles(world: World) -> None:
    """A source that answers every request with its first page fails the run instead of being read for ever."""
    await world.begin()

    class Circle(OtherPages):
        async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
            del after
            return await super().page(within, None, limit)

    circle = Circle(world)
    await world.fetch(command(expected=10), datasets=circle)
    assert (await world.run()).state is RunState.FAILED
    assert circle.asked == 2


@pytest.mark.parametrize("dies", ["finish run", "announce"])
async def test_a_refusal_that_was_cut_off(world: World, dies: str) -> None:
    """A fetcher that dies while it fails the run leaves it to the redelivery, and the failure is announced."""
    await world.begin()

    def die(place: str) -> None:
        if place.startswith(f"before {dies}"):
            raise KilledError(place)

    refusing = raising(PermanentError(SAYS))(world)
    with pytest.raises(KilledError):
        await world.fetch(command(), effects=Effects(die), datasets=refusing)
    assert world.facts() == []
    outcome = await fetch_batch(world.ports(datasets=refusing), [delivery(command(), receives=2)])
    assert not outcome.failed
    assert (await world.run()).reason == SAYS
    assert world.facts() == [("RunFailed", SAYS)]


async def test_the_source_is_busy(world: World) -> None:
    """A source without an answer for now has the command put back for as long as it asks."""
    await world.begin()
    outcome = await world.fetch(command(), datasets=raising(TemporaryError("429", delay=42.0), at_request=3)(world))
    assert outcome.failed == {"s1": 42.0}
    assert (await world.run()).state is RunState.RUNNING
    assert world.objects.puts == []


async def test_aws_does_not_answer(world: World) -> None:
    """An endpoint that is not there has the command come back when the queue says so."""
    await world.begin()
    network = ScriptedNetwork()
    network.next(*[Fate.DELIVERED] * 3, Fate.REQUEST_LOST)
    outcome = await world.fetch(command(expected=10), effects=Effects(network=network))
    assert outcome.failed == {"s1": None}
    assert world.objects.puts == []


async def test_a_run_that_nobody_knows(world: World) -> None:
    """A ledger that was lost stops no fetch; but a refusal has no run to fail, and goes to the DLQ in the end."""
    assert not (await world.fetch(command())).failed
    assert (await world.entry()).fetched == 10
    outcome = await world.fetch(command("s2"), datasets=raising(PermanentError(SAYS))(world))
    assert outcome.failed == {"s2": None}
    assert outcome.reasons == {"s2": SAYS}


async def test_what_cannot_be_read_comes_back_alone(world: World) -> None:
    """Garbage, another service's command and an unknown pipeline fail; the command beside them is carried out."""
    await world.begin()
    foreign = PlanRun(pipeline=NAME, run_id=RUN_ID)
    message = Message.model_validate_json(delivery(command()).body)
    envelope = Message.wrap(foreign, message_id=message.id, run_id=RUN_ID, occurred_at=message.occurred_at)
    outcome = await fetch_batch(
        world.ports(),
        [
            Delivery("garbage", "{"),
            Delivery("foreign", envelope.model_dump_json()),
            delivery(command(pipeline="nobody"), name="unknown"),
            delivery(command(pipeline="visit_events"), name="uploads"),
            delivery(command()),
        ],
    )
    assert outcome.failed == dict.fromkeys(["garbage", "foreign", "unknown", "uploads"])
    assert all("\n" not in reason for reason in outcome.reasons.values())
    assert world.keys() == list(range(10))


async def test_one_of_a_batch_is_busy(world: World) -> None:
    """A command that must wait comes back alone."""
    await world.begin(RunState.RUNNING, "s1", "s2")
    far = KeyRange(start="2025-03-01T00:00:00.000", to="2025-03-02T00:00:00.000")

    class Half(OtherPages):
        async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
            if within == far:
                raise TemporaryError("503", delay=7.0)
            return await super().page(within, after, limit)

    outcome = await world.fetch(command(), command("s2", range=far), datasets=Half(world))
    assert outcome.failed == {"s2": 7.0}
    assert world.keys() == list(range(10))


async def test_a_defect_is_not_hidden(world: World) -> None:
    """An error that nobody foresaw leaves as it is, so that the whole batch comes again."""
    await world.begin()
    with pytest.raises(ZeroDivisionError):
        await world.fetch(command(), datasets=raising(ZeroDivisionError())(world))


async def test_killed_anywhere(world: World) -> None:
    """After a death between any two side effects the redelivery ends as if nothing had happened."""
    places = 0
    for kill_at in range(1, 100):
        again = World(rows=world.dataset.rows)
        await again.begin()
        switch = KillSwitch(kill_at)
        try:
            await again.fetch(command(expected=10), effects=Effects(switch))
        except KilledError:
            places += 1
        await again.again(command(expected=10))
        assert again.keys() == list(range(10))
        assert (await again.entry()).fetched == 10
        if not switch.dead:
            break
    assert places == 2 * (3 + 1 + 1)
