"""A queue as a worker sees it: receive, hide, give back and delete, ten messages to a request."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from services.runtime.aws.errors import translated
from services.runtime.deliveries import Delivery
from services.runtime.shells.attributes import sent_at_of

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

log = structlog.get_logger()

RECEIVE_MAX = 10
"""Messages SQS hands out, deletes or changes per request, at most."""
LONGEST_POLL_S = 20
LONGEST_BACK_OFF_S = 300
LONGEST_HIDDEN_S = 43_200
"""SQS hides a message for twelve hours at most."""


@dataclass(frozen=True, slots=True)
class Held:
    """A received message with what SQS wants to see for deleting it or giving it back."""

    delivery: Delivery
    receipt: str


class Inbox:
    """One queue, open for receiving.

    Raises (all methods): UnreachableError, TemporaryError; AccessDeniedError and MissingObjectError where the queue is
    not ours or not there.
    """

    def __init__(self, sqs: "SQSClient", name: str, url: str) -> None:
        self._sqs = sqs
        self._name = name
        self._url = url

    @classmethod
    async def open(cls, sqs: "SQSClient", name: str) -> "Inbox":
        """Look the queue up by its deployed name."""
        with translated(f"look up queue {name}"):
            return cls(sqs, name, (await sqs.get_queue_url(QueueName=name))["QueueUrl"])

    async def receive(self, count: int, *, wait_s: float, hidden_s: int) -> list[Held]:
        """At most ``count`` messages, hidden from others for ``hidden_s`` seconds; waits ``wait_s`` for the first."""
        with translated(f"receive from {self._name}"):
            answer = await self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(RECEIVE_MAX, count),
                WaitTimeSeconds=min(LONGEST_POLL_S, math.ceil(wait_s)),
                VisibilityTimeout=hidden_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp", "AWSTraceHeader"],
            )
        return [Held(self._delivery(message), message["ReceiptHandle"]) for message in answer.get("Messages", [])]

    def _delivery(self, message: "MessageTypeDef") -> Delivery:
        attributes = message.get("Attributes", {})
        return Delivery(
            id=message["MessageId"],
            body=message["Body"],
            receives=int(attributes.get("ApproximateReceiveCount", 1)),
            sent_at=sent_at_of(attributes),
            queue=self._name,
            trace=attributes.get("AWSTraceHeader"),
        )

    async def delete(self, held: Sequence[Held]) -> None:
        """Take messages out of the queue for good."""

        async def send(part: Sequence[Held]) -> None:
            with translated(f"delete messages of {self._name}"):
                answer = await self._sqs.delete_message_batch(
                    QueueUrl=self._url,
                    Entries=[{"Id": str(i), "ReceiptHandle": h.receipt} for i, h in enumerate(part)],
                )
            _report_refused("messages not deleted, they come again", answer)

        await _in_tens(held, send)

    async def give_back(self, held: Sequence[Held], delays: Mapping[str, float | None]) -> None:
        """Let others have messages after their delays, in seconds by delivery id; None: longer after each receive."""
        by_delay: dict[int, list[Held]] = {}
        for item in held:
            delay = delays[item.delivery.id]
            seconds = back_off_s(item.delivery.receives) if delay is None else math.ceil(delay)
            by_delay.setdefault(min(seconds, LONGEST_HIDDEN_S), []).append(item)
        for seconds, items in by_delay.items():
            await self.hide(items, seconds)

    async def hide(self, held: Sequence[Held], seconds: int) -> None:
        """Keep messages hidden for so many seconds from now; 0 makes them visible."""

        async def send(part: Sequence[Held]) -> None:
            with translated(f"change visibility in {self._name}"):
                answer = await self._sqs.change_message_visibility_batch(
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(i), "ReceiptHandle": h.receipt, "VisibilityTimeout": seconds}
                        for i, h in enumerate(part)
                    ],
                )
            _report_refused("visibility not changed", answer)

        await _in_tens(list(held), send)


def back_off_s(receives: int) -> int:
    """Seconds until the next attempt at a message that was received so many times."""
    return min(1 << min(receives, 16), LONGEST_BACK_OFF_S)


def _report_refused(event: str, answer: Mapping[str, Any]) -> None:
    """SQS answers a batch with what it refused; such a message is delivered again, which is safe."""
    if refused := answer.get("Failed", []):
        log.warning(event, messages=len(refused), code=refused[0].get("Code"))


async def _in_tens(held: Sequence[Held], send: Callable[[Sequence[Held]], Any]) -> None:
    parts = [held[start : start + RECEIVE_MAX] for start in range(0, len(held), RECEIVE_MAX)]
    await asyncio.gather(*(send(part) for part in parts))
