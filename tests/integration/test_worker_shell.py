"""The long-poll worker against a real queue: what it gathers, hides, deletes and gives back."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import TemporaryError
from services.runtime.shells.inbox import LONGEST_BACK_OFF_S, back_off_s
from services.runtime.shells.worker import Worker
from tests.integration.queue_support import PATIENCE_S, Handler, Queue, options, queue, working

__all__ = ["queue"]


async def test_a_batch_is_full_or_its_window_is_over(queue: Queue) -> None:
    """Ten requests' worth of messages are one batch; what is left over waits for the window and no longer."""
    await queue.send(*(str(n) for n in range(28)))
    handler = Handler()
    async with working(Worker(queue.sqs, queue.name, handler, options(batch_size=25, batch_window_s=3, poll_s=2))):
        await handler.called(2)
    assert [len(batch) for batch in handler.batches] == [25, 3]
    assert sorted(map(int, handler.bodies)) == list(range(28))
    await queue.until(0, 0)


async def test_a_trickle_does_not_hold_a_batch_open(queue: Queue) -> None:
    """Messages that keep coming do not delay those that are there beyond the window."""
    handler = Handler()
    async with working(Worker(queue.sqs, queue.name, handler, options(batch_size=1_000, batch_window_s=1))):
        started = time.monotonic()
        while len(handler.batches) < 2:
            assert time.monotonic() - started < PATIENCE_S
            await queue.send(str(time.monotonic()))
            await asyncio.sleep(0.1)
    first = [float(delivery.body) for delivery in handler.batches[0]]
    assert len(first) > 1
    assert handler.times[0] - min(first) < 5


async def test_no_more_batches_at_once_than_lanes(queue: Queue) -> None:
    """And as many as lanes, when there is enough to do."""
    gate = asyncio.Event()

    async def wait(_: Sequence[Delivery]) -> Outcome:
        await gate.wait()
        return Outcome()

    await queue.send(*(str(n) for n in range(9)))
    handler = Handler(wait)
    async with working(Worker(queue.sqs, queue.name, handler, options(batch_size=1, lanes=3))):
        await queue.until(6, 3)
        await handler.called(3)
        assert (len(handler.batches), handler.active) == (3, 3)
        gate.set()
        await handler.called(9)
    assert handler.most_active == 3
    await queue.until(0, 0)


async def test_a_heartbeat_hides_what_takes_longer_than_the_visibility(queue: Queue) -> None:
    """Visible again after two seconds, handled for five: delivered once, though another lane is waiting for it."""

    async def slow(_: Sequence[Delivery]) -> Outcome:
        await asyncio.sleep(5)
        return Outcome()

    await queue.send("slow")
    handler = Handler(slow)
    async with working(Worker(queue.sqs, queue.name, handler, options(visibility_s=2, lanes=2))):
        await handler.called()
        await queue.until(0, 0)
    assert handler.bodies == ["slow"]


async def test_what_failed_comes_back_and_the_rest_is_deleted(queue: Queue) -> None:
    """After the delay that the use case wants, or else after a pause that grows with each receive."""

    async def fail_once(deliveries: Sequence[Delivery]) -> Outcome:
        outcome = Outcome()
        for delivery in deliveries:
            if delivery.receives == 1 and delivery.body != "good":
                outcome.fail([delivery.id], "as told", delay=0.4 if delivery.body == "delayed" else None)
        return outcome

    await queue.send("good", "delayed", "backed-off")
    handler = Handler(fail_once)
    async with working(Worker(queue.sqs, queue.name, handler, options())):
        await queue.until(0, 0)
    seen = Counter(handler.bodies)
    assert seen == {"good": 1, "delayed": 2, "backed-off": 2}
    when = {
        delivery.body: moment
        for batch, moment in zip(handler.batches, handler.times, strict=True)
        for delivery in batch
        if delivery.receives == 2
    }
    assert when["delayed"] - handler.times[0] >= 0.9  # whole seconds, never earlier than asked for
    assert when["backed-off"] - handler.times[0] >= 1.9


def test_the_pause_grows_to_a_bound() -> None:
    """Two, four, eight seconds and so on, never beyond five minutes."""
    assert [back_off_s(receives) for receives in (1, 2, 3, 8, 9, 10_000)] == [2, 4, 8, 256, 300, LONGEST_BACK_OFF_S]


@pytest.mark.parametrize("error", [RuntimeError("a defect"), TemporaryError("not now", delay=1)])
async def test_an_error_of_the_use_case_brings_the_whole_batch_back(queue: Queue, error: Exception) -> None:
    """Nothing of it is deleted, and the worker goes on."""

    async def fail_once(deliveries: Sequence[Delivery]) -> Outcome:
        if deliveries[0].receives == 1:
            raise error
        return Outcome()

    await queue.send("a", "b", "c")
    handler = Handler(fail_once)
    async with working(Worker(queue.sqs, queue.name, handler, options(batch_window_s=1))):
        await queue.until(0, 0)
    assert Counter(handler.bodies) == {"a": 2, "b": 2, "c": 2}


async def test_a_stop_while_gathering_gives_back_at_once(queue: Queue) -> None:
    """What was only gathered is visible the moment the worker has ended, for somebody else to handle."""
    await queue.send("a", "b", "c")
    handler = Handler()
    worker = Worker(queue.sqs, queue.name, handler, options(batch_size=100, batch_window_s=20, poll_s=3))
    async with working(worker):
        await queue.until(0, 3)
        worker.stop()
    assert await queue.counts() == (3, 0)
    assert handler.batches == []
    other = Handler()
    async with working(Worker(queue.sqs, queue.name, other, options())):
        await queue.until(0, 0)
    assert {delivery.receives for batch in other.batches for delivery in batch} == {2}


async def test_a_stop_finishes_what_is_begun(queue: Queue) -> None:
    """The batch under way is handled to its end and deleted; nothing new is begun."""
    gate = asyncio.Event()

    async def wait(_: Sequence[Delivery]) -> Outcome:
        await gate.wait()
        return Outcome()

    await queue.send("begun")
    handler = Handler(wait)
    worker = Worker(queue.sqs, queue.name, handler, options())
    async with working(worker) as task:
        await handler.called()
        worker.stop()
        await queue.send("new")
        assert not task.done()
        gate.set()
    assert await queue.counts() == (1, 0)
    assert (handler.bodies, handler.cancelled) == (["begun"], 0)


async def test_work_that_outlasts_the_grace_is_given_back(queue: Queue) -> None:
    """It is cancelled, and its messages are visible at once."""

    async def forever(_: Sequence[Delivery]) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    await queue.send("a", "b")
    handler = Handler(forever)
    worker = Worker(queue.sqs, queue.name, handler, options(grace_s=0.5))
    async with working(worker):
        await handler.called()
        worker.stop()
    assert await queue.counts() == (2, 0)
    assert handler.cancelled == 1


async def test_what_sqs_says_of_a_message_reaches_the_use_case(queue: Queue) -> None:
    """When it was sent, and through which queue: the age of the oldest message is measured by that."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    await queue.send("one")
    handler = Handler()
    async with working(Worker(queue.sqs, queue.name, handler, options())):
        await handler.called()
    ((delivery,),) = handler.batches
    assert delivery.queue == queue.name
    assert delivery.sent_at is not None
    assert before <= delivery.sent_at <= datetime.now(UTC) + timedelta(seconds=1)
