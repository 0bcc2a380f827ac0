"""The long-poll worker while its queue, its messages or its settings give trouble."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from services.runtime.aws.clients import Clients
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import MissingObjectError
from services.runtime.settings import LaneSettings
from services.runtime.shells.worker import Worker, main
from tests.emulator_support import Stack
from tests.integration.queue_support import Door, Handler, Interfering, Queue, options, queue, working

__all__ = ["queue"]


async def test_a_late_heartbeat_does_not_hide_what_was_given_back(queue: Queue) -> None:
    """A heartbeat that is still under way when a batch fails ends before the batch is given back."""
    beating, released = asyncio.Event(), asyncio.Event()

    async def hold_the_first() -> None:
        if not beating.is_set():
            beating.set()
            await released.wait()

    async def fail_under_a_beat(deliveries: Sequence[Delivery]) -> Outcome:
        outcome = Outcome()
        if deliveries[0].receives == 1:
            await beating.wait()
            outcome.fail([deliveries[0].id], "as told", delay=1)
            asyncio.get_running_loop().call_later(0.3, released.set)
        return outcome

    await queue.send("a")
    client = Interfering(queue.sqs, {"change_message_visibility_batch": hold_the_first}).as_sqs()
    handler = Handler(fail_under_a_beat)
    async with working(Worker(client, queue.name, handler, options(visibility_s=6))):
        await handler.called(2)
        await queue.until(0, 0)
    assert handler.times[1] - handler.times[0] < 6  # the beat came after two seconds and would have hidden it for six


@pytest.mark.parametrize(
    "trouble",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "later"}}, "ReceiveMessage"),
    ],
)
async def test_trouble_with_the_queue_is_a_pause(queue: Queue, trouble: Exception) -> None:
    """The worker tries again until the endpoint answers, and then handles what waited; stopping needs no answer."""
    left = [1]

    async def fail_first() -> None:
        if left[0]:
            left[0] -= 1
            raise trouble

    await queue.send("patient")
    client = Interfering(queue.sqs, {"receive_message": fail_first}).as_sqs()
    handler = Handler()
    async with working(Worker(client, queue.name, handler, options())) as task:
        await handler.called()
        await queue.until(0, 0)
        left[0] = 1_000_000
        assert not task.done()
    assert handler.bodies == ["patient"]


async def test_trouble_while_gathering_keeps_what_was_gathered(queue: Queue) -> None:
    """The messages in hand are a batch; only the next one has to wait."""
    calls = [0]

    async def fail_the_second() -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    await queue.send("a", "b")
    client = Interfering(queue.sqs, {"receive_message": fail_the_second}).as_sqs()
    handler = Handler()
    async with working(Worker(client, queue.name, handler, options(batch_window_s=20))):
        await queue.until(0, 0)
    assert sorted((d.body, d.receives) for batch in handler.batches for d in batch) == [("a", 1), ("b", 1)]


async def test_a_listener_that_goes_and_comes_back(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are cut and then refused for a while: the worker outlives it.

    SQS goes on with a long poll that was cut, and hides for it what comes: that message is late by the visibility.
    """
    hidden_briefly = options(visibility_s=3)
    door = Door(int(queue.url.rsplit(":", 1)[1].split("/")[0]))
    await door.open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{door.port}")
    handler = Handler()
    async with Clients(retries=1) as clients, working(Worker(clients.sqs, queue.name, handler, hidden_briefly)) as task:
        await queue.send("before")
        await handler.called()
        await door.close()
        await queue.send("after")
        await asyncio.sleep(1.5)  # longer than a poll: there is nothing to wait for while nothing happens
        assert (handler.bodies, task.done()) == (["before"], False)
        await door.open()
        await handler.called(2)
        await queue.until(0, 0)
    await door.close()
    assert handler.bodies == ["before", "after"]


async def test_a_queue_that_is_not_there_ends_the_worker(queue: Queue) -> None:
    """Trying again cannot help: an operator must provision it."""
    with pytest.raises(MissingObjectError, match="look up queue nothing"):
        await Worker(queue.sqs, "nothing", Handler(), options()).run()


@asynccontextmanager
async def _build() -> AsyncIterator[Handler]:
    yield Handler()


def test_a_process_that_cannot_work_says_why_in_one_line(empty_stack: Stack) -> None:
    """Wrong settings and a missing queue end it with a text and no traceback."""
    with pytest.raises(SystemExit, match="TIDEGATE_POLL_S='soon': "):
        main("plan-requests", LaneSettings, _build, environ={"TIDEGATE_POLL_S": "soon"})
    with pytest.raises(SystemExit, match=f"look up queue {empty_stack.name}-plan-requests: ") as caught:
        main("plan-requests", LaneSettings, _build, environ=empty_stack.environ)
    assert "\n" not in str(caught.value)
