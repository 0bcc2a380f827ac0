"""The worker shell: long polling with a visibility heartbeat, bounded concurrency and a graceful stop.

A worker runs a few *lanes* side by side. A lane gathers a batch (as an event source mapping would: until it is full
or its window has passed, or until it wants nothing more: see ``weight``), hands it to the use case, deletes what is
done and gives back what failed. While a lane holds messages, a heartbeat keeps them hidden; a killed worker's messages
reappear after ``visibility_s``, not after the much longer timeout that Lambda needs. On SIGTERM a lane gives back what
it has only gathered and finishes what it has begun. It lets its long poll end by itself: SQS goes on with a poll whose
client is gone and may still hide messages for it, so stopping takes up to ``poll_s`` but delays nothing for others.
"""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from contracts.topology import TOPOLOGY
from services.runtime.aws.clients import Clients
from services.runtime.deliveries import BatchHandler, Delivery, Outcome
from services.runtime.failures import TemporaryError, TidegateError, UnreachableError
from services.runtime.settings import LaneSettings
from services.runtime.shells.inbox import Held, Inbox
from services.runtime.shells.weight import Wants, wanted

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = structlog.get_logger()

HEARTBEATS_PER_VISIBILITY = 3
UNREACHABLE_PAUSE_S = 2.0
SEVERAL = 2
"""Messages of one answer after which more may be waiting: one that comes alone is not kept back for another request."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works; all times in seconds."""

    batch_size: int
    batch_window_s: float
    lanes: int = 1
    poll_s: int = 20
    visibility_s: int = 30
    grace_s: float = 30.0
    wanted: Callable[[Sequence[Delivery]], Wants] = lambda _: Wants.MORE
    """What it still wants, having gathered these."""


class Worker:
    """Runs one queue's use case until it is told to stop."""

    def __init__(self, sqs: "SQSClient", queue_name: str, handler: BatchHandler, options: WorkerOptions) -> None:
        self._sqs = sqs
        self._queue_name = queue_name
        self._handler = handler
        self._options = options
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin a graceful stop; ``run`` returns when everything held is finished or given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            MissingObjectError, AccessDeniedError: the queue is not there or not ours.
        """
        inbox = await Inbox.open(self._sqs, self._queue_name)
        log.info("worker started", queue=self._queue_name, lanes=self._options.lanes)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._options.lanes):
                lanes.create_task(self._lane(inbox))
        log.info("worker stopped", queue=self._queue_name)

    async def _lane(self, inbox: Inbox) -> None:
        while not self._stopping.is_set():
            held: list[Held] = []
            try:
                async with self._heartbeat(inbox, held):
                    await self._gather(inbox, held)
                    outcome = await self._handle(held) if held and not self._stopping.is_set() else _unfinished(held)
                # Only now: a heartbeat that is still under way would hide again what was just given back.
                await inbox.delete([h for h in held if h.delivery.id not in outcome.failed])
                await inbox.give_back([h for h in held if h.delivery.id in outcome.failed], outcome.failed)
            except (UnreachableError, TemporaryError) as error:
                log.warning("queue unreachable, pausing", error=str(error), seconds=UNREACHABLE_PAUSE_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), UNREACHABLE_PAUSE_S)

    async def _gather(self, inbox: Inbox, held: list[Held]) -> None:
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        wants = Wants.MORE
        while not self._stopping.is_set() and len(held) < self._options.batch_size:
            left = math.inf if deadline is None else deadline - loop.time()
            if left <= 0:
                return
            missing = self._options.batch_size - len(held)
            wait_s = 0 if wants is Wants.WAITING else min(left, self._options.poll_s)
            try:
                received = await inbox.receive(missing, wait_s=wait_s, hidden_s=self._options.visibility_s)
            except (UnreachableError, TemporaryError):
                if not held:
                    raise
                return  # what was gathered so far is a batch; the next one meets the trouble again
            held.extend(received)
            wants = self._options.wanted([h.delivery for h in held])
            if wants is Wants.NOTHING or (wants is Wants.WAITING and len(received) < SEVERAL):
                return
            if not received:  # a long poll of at least a second found nothing: the queue is drained
                return
            if deadline is None:
                deadline = loop.time() + self._options.batch_window_s

    async def _handle(self, held: list[Held]) -> Outcome:
        work = asyncio.ensure_future(self._handler([h.delivery for h in held]))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.wait({work}, timeout=self._options.grace_s)
            if not work.done():
                log.warning("gave up unfinished work at shutdown", **_named(held))
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
                return _unfinished(held)
            return work.result()
        except TidegateError as error:
            log.error("batch failed", error=str(error), kind=type(error).__name__, **_named(held))
            return _all_failed(held, str(error), getattr(error, "delay", None))
        except Exception as error:  # a defect: the batch comes again and, if it keeps failing, reaches the DLQ
            log.exception("batch failed on a defect", **_named(held))
            return _all_failed(held, str(error), None)
        finally:
            stop.cancel()

    @asynccontextmanager
    async def _heartbeat(self, inbox: Inbox, held: Sequence[Held]) -> AsyncIterator[None]:
        over = asyncio.Event()

        async def beat() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), self._options.visibility_s / HEARTBEATS_PER_VISIBILITY)
                    return
                try:
                    await inbox.hide(held, self._options.visibility_s)
                except TidegateError as error:  # the next beat tries again; at worst a message is delivered twice
                    log.warning("heartbeat failed", error=str(error))

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            over.set()
            await task


def _named(held: Sequence[Held]) -> dict[str, Any]:
    """A batch as log lines name it."""
    return {"messages": len(held), "message_ids": [h.delivery.id for h in held]}


def _unfinished(held: Sequence[Held]) -> Outcome:
    return _all_failed(held, "stopped before it was handled", 0.0)


def _all_failed(held: Sequence[Held], reason: str, delay: float | None) -> Outcome:
    outcome = Outcome()
    outcome.fail([h.delivery.id for h in held], reason, delay=delay)
    return outcome


async def run_workers(
    queues: Mapping[str, WorkerOptions], build: Callable[[], AbstractAsyncContextManager[BatchHandler]]
) -> None:
    """Open the use case and the queues, by their deployed names, and work until SIGTERM or SIGINT."""
    async with Clients("sqs") as clients, build() as handler, asyncio.TaskGroup() as working:
        workers = [Worker(clients.sqs, queue, handler, options) for queue, options in queues.items()]

        def stop() -> None:
            for worker in workers:
                worker.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        for worker in workers:
            working.create_task(worker.run())


S = TypeVar("S", bound=LaneSettings)


def main(
    queue: str,
    settings_type: type[S],
    build: Callable[[], AbstractAsyncContextManager[BatchHandler]],
    *,
    lanes_of: Callable[[S], Mapping[str, int]] | None = None,
    stands_for_more: str | None = None,
    commits_together: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Run a service's worker until it is stopped; queues go by their logical names.

    ``lanes_of`` says of a service with several queues how many batches of each are handled side by side;
    ``stands_for_more`` and ``commits_together`` see ``weight.wanted``.

    Raises:
        SystemExit: with one line, when the settings or a declaration are wrong.
    """
    try:
        settings = settings_type.read(environ)
        lanes = {queue: settings.lanes} if lanes_of is None else lanes_of(settings)
        batches = partial(wanted, stands_for_more=stands_for_more, commits_together=commits_together)
        queues = {settings.resource(name): _options(name, count, settings, batches) for name, count in lanes.items()}
        asyncio.run(run_workers(queues, build))
    except* TidegateError as group:
        raise SystemExit("; ".join(str(error) for error in _leaves(group))) from group


def _options(
    queue: str, lanes: int, settings: LaneSettings, batches: Callable[[Sequence[Delivery]], Wants]
) -> WorkerOptions:
    declared = TOPOLOGY.queue(queue)
    return WorkerOptions(
        batch_size=declared.batch_size,
        batch_window_s=declared.batch_window_s,
        lanes=lanes,
        poll_s=settings.poll_s,
        visibility_s=settings.visibility_s,
        grace_s=settings.grace_s,
        wanted=batches,
    )


def _leaves(group: BaseExceptionGroup[TidegateError]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
