"""A real queue seen from outside, a use case that remembers, and what can come between a worker and its queue."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from services.runtime.aws.clients import Clients
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.shells.worker import Worker, WorkerOptions
from tests.emulator_support import Stack

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

POLL_S = 0.02
PATIENCE_S = 30.0
"""Nothing here takes this long, but the machine may be busy with something else."""


@dataclass
class Queue:
    """The queue under test, seen from outside."""

    sqs: "SQSClient"
    name: str
    url: str

    async def send(self, *bodies: str) -> None:
        """Put messages into it."""
        for start in range(0, len(bodies), 10):
            part = bodies[start : start + 10]
            await self.sqs.send_message_batch(
                QueueUrl=self.url, Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(part)]
            )

    async def counts(self) -> tuple[int, int]:
        """Messages that are visible, and that are in flight."""
        found = (await self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"]))["Attributes"]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    async def until(self, visible: int, in_flight: int) -> None:
        """Wait until it stands so."""

        async def stands() -> bool:
            return await self.counts() == (visible, in_flight)

        await until(stands)


@dataclass
class Handler:
    """A use case that remembers its batches; ``behave`` decides what becomes of one."""

    behave: Callable[[Sequence[Delivery]], Awaitable[Outcome]] | None = None
    batches: list[list[Delivery]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    active: int = 0
    most_active: int = 0
    cancelled: int = 0

    async def __call__(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Handle a batch."""
        self.batches.append(list(deliveries))
        self.times.append(time.monotonic())
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            return Outcome() if self.behave is None else await self.behave(deliveries)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    @property
    def bodies(self) -> list[str]:
        """Everything it was handed, in order."""
        return [delivery.body for batch in self.batches for delivery in batch]

    async def called(self, times: int = 1) -> None:
        """Wait until it was handed so many batches."""

        async def enough() -> bool:
            return len(self.batches) >= times

        await until(enough)


class Interfering:
    """A real client before whose operations something else happens. A caller that gives up takes no request back."""

    def __init__(self, client: "SQSClient", before: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._client = client
        self._before = before

    def as_sqs(self) -> "SQSClient":
        """This client under the type whose operations it stands for."""
        return cast("SQSClient", self)

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def carry(arguments: Mapping[str, Any]) -> Any:
            if operation in self._before:
                await self._before[operation]()
            return await getattr(self._client, operation)(**arguments)

        async def call(**arguments: Any) -> Any:
            return await asyncio.shield(asyncio.ensure_future(carry(arguments)))

        return call


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(POLL_S)


def options(**changes: Any) -> WorkerOptions:
    """One lane, small batches, short polls."""
    return WorkerOptions(**{"batch_size": 10, "batch_window_s": 0, "poll_s": 1, "visibility_s": 20, **changes})


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    """A running worker; at the end it is stopped and must have ended without an error."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await asyncio.wait_for(task, PATIENCE_S)


@pytest.fixture
async def queue(empty_stack: Stack) -> AsyncIterator[Queue]:
    """An empty queue of the test's own."""
    async with Clients() as clients:
        name = empty_stack.resource("jobs")
        url = (await clients.sqs.create_queue(QueueName=name))["QueueUrl"]
        yield Queue(clients.sqs, name, url)


class Door:
    """A port in front of another one that can be closed, with everything that went through it, and opened again."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen; always on the same port."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut every connection and refuse new ones."""
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers |= {writer, behind_writer}

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65_536):
                    target.write(data)
                    await target.drain()
            target.close()

        async with asyncio.TaskGroup() as both:
            both.create_task(pump(reader, behind_writer))
            both.create_task(pump(behind_reader, writer))
