"""How a Lambda function says when a failed message shall come again.

A partial batch response only says which messages failed. Without more they stay hidden for the queue's visibility
timeout, which is a multiple of the function's longest run: a snooze of seconds would last half an hour.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import structlog

from services.runtime.aws.clients import Clients
from services.runtime.failures import TidegateError
from services.runtime.shells.inbox import Held, Inbox

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

log = structlog.get_logger()

WITHIN_S = 10.0
"""Longest that an invocation waits for SQS here; what was not said by then stays hidden as long as the queue says."""


class Returns:
    """Lets failed messages come again after their delays. Its client is opened when the first message fails.

    ``connect`` opens a client; it stays open with the container.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Any]] | None = None) -> None:
        self._connect = connect or _only_sqs
        self._context: AbstractAsyncContextManager[Any] | None = None
        self._sqs: SQSClient | None = None
        self._inboxes: dict[str, Inbox] = {}

    async def give_back(self, held: Sequence[Held], delays: Mapping[str, float | None]) -> None:
        """Change the visibility of these messages: seconds by delivery id, None: longer after each receive.

        Trouble is logged and nothing else: a message whose visibility was not changed comes again all the same, later.
        """
        by_queue: dict[str, list[Held]] = {}
        for item in held:
            if item.receipt:  # an event made by hand may have none, and no message behind it
                by_queue.setdefault(item.delivery.queue, []).append(item)
        for queue, items in by_queue.items():
            try:
                async with asyncio.timeout(WITHIN_S):
                    await (await self._inbox(queue)).give_back(items, delays)
            except (TidegateError, TimeoutError) as error:
                log.warning("visibility not changed", queue=queue, messages=len(items), error=str(error) or "no answer")

    async def _inbox(self, queue: str) -> Inbox:
        if queue not in self._inboxes:
            if self._sqs is None:
                context = self._connect()
                self._sqs = (await context.__aenter__()).sqs
                self._context = context  # kept open, as the use case is
            self._inboxes[queue] = await Inbox.open(self._sqs, queue)
        return self._inboxes[queue]


def _only_sqs() -> Clients:
    return Clients("sqs")
