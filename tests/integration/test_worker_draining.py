"""A worker whose batches are one commit each takes what waits in the queue into the next one."""

import asyncio
import time
from collections.abc import Sequence

from services.runtime.deliveries import Delivery, Outcome
from services.runtime.shells.weight import Wants
from services.runtime.shells.worker import Worker
from tests.integration.queue_support import Handler, Queue, options, queue, working

__all__ = ["queue"]


def _enough(deliveries: Sequence[Delivery]) -> Wants:
    return Wants.WAITING if len(deliveries) < 40 else Wants.NOTHING


async def test_what_waits_is_one_batch(queue: Queue) -> None:
    """Any message is work enough; those behind it are taken along, as far as the batch wants more of them."""
    await queue.send(*(str(n) for n in range(55)))
    handler = Handler()
    async with working(
        Worker(queue.sqs, queue.name, handler, options(batch_size=100, batch_window_s=5, wanted=_enough))
    ):
        await handler.called(2)
    assert [len(batch) for batch in handler.batches] == [40, 15]
    await queue.until(0, 0)


async def test_what_comes_during_a_batch_is_the_next_one(queue: Queue) -> None:
    """However many messages come while a batch is handled, they are handled together after it."""
    gate = asyncio.Event()

    async def wait(_: Sequence[Delivery]) -> Outcome:
        await gate.wait()
        return Outcome()

    handler = Handler(wait)
    await queue.send("first")
    async with working(
        Worker(queue.sqs, queue.name, handler, options(batch_size=100, batch_window_s=5, wanted=_enough))
    ):
        await handler.called()
        for number in range(30):
            await queue.send(str(number))
        gate.set()
        await handler.called(2)
        await queue.until(0, 0)
    assert [len(batch) for batch in handler.batches] == [1, 30]


async def test_one_that_comes_alone_waits_for_nothing(queue: Queue) -> None:
    """It is handled after the one request that brought it, neither a window nor a poll later."""
    handler = Handler()
    shell = options(batch_size=100, batch_window_s=20, poll_s=20, wanted=_enough)
    worker = Worker(queue.sqs, queue.name, handler, shell)
    async with working(worker):
        sent = time.monotonic()
        await queue.send("alone")
        await handler.called()
        assert handler.times[0] - sent < 10
        worker.stop()
        await queue.send("so that the poll ends")
