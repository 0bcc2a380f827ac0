"""The Lambda shell: an SQS event source mapping with partial batch responses.

One event loop serves the whole life of the container, because the AWS clients belong to the loop that opened them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import structlog
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from services.runtime.deliveries import BatchHandler, Delivery, Outcome
from services.runtime.failures import MalformedError
from services.runtime.shells.attributes import sent_at_of
from services.runtime.shells.inbox import Held
from services.runtime.shells.returning import Returns
from services.runtime.telemetry import correlated
from services.runtime.tracing import Trace, invoked_in

log = structlog.get_logger()

TRACE_VARIABLE = "_X_AMZN_TRACE_ID"
"""Lambda sets it anew for every invocation."""

H = TypeVar("H", bound=BatchHandler)
T = TypeVar("T")


class DeliveryFailedError(Exception):
    """Tells Powertools that one record of the batch must come again."""


class LambdaBatch(Generic[H]):
    """A callable Lambda handler over one use case.

    ``build`` opens the use case; it is entered at the first invocation and stays open with the container. What failed
    becomes visible again after its delay, as ``returns`` tells SQS.

    Raises (on call):
        MalformedError: the event is not an SQS batch; nothing is reported as done, so everything comes again.
    """

    def __init__(
        self,
        build: Callable[[], AbstractAsyncContextManager[H]],
        *,
        environ: Mapping[str, str] = os.environ,
        returns: Returns | None = None,
    ) -> None:
        self._build = build
        self._returns = returns or Returns()
        self._environ = environ
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: AbstractAsyncContextManager[H] | None = None
        self._handler: H | None = None

    def __call__(self, event: Any, context: Any) -> Mapping[str, Any]:
        """Handle one batch and say which of its records failed."""
        held = [
            Held(delivery, record.get("receiptHandle", ""))
            for delivery, record in zip(read_batch(event), event["Records"], strict=True)
        ]
        outcome = self.run(lambda handler: self._handle(handler, held), context)
        return respond(event, outcome, context)

    def run(self, use: Callable[[H], Awaitable[T]], context: Any) -> T:
        """Use the use case, which is opened before if it is not open yet, in the container's own event loop.

        Every log line meanwhile names the invocation, by the ids under which Lambda and X-Ray know it.
        """
        trace = Trace.read(self._environ.get(TRACE_VARIABLE))
        ids = {"aws_request_id": getattr(context, "aws_request_id", None), "xray_trace_id": trace and trace.root}
        with correlated(**{name: value for name, value in ids.items() if value}), invoked_in(trace):
            return self._running_loop().run_until_complete(self._use(use))

    async def _handle(self, handler: BatchHandler, held: list[Held]) -> Outcome:
        try:
            outcome = await handler([each.delivery for each in held])
        except Exception as error:
            # The invocation fails, and all of them come again. Not so where the use case could not even be opened:
            # that takes somebody to mend it, and the queue's own timeout leaves them hours instead of a minute.
            delay = getattr(error, "delay", None)
            await self._returns.give_back(held, {each.delivery.id: delay for each in held})
            raise
        await self._returns.give_back([each for each in held if each.delivery.id in outcome.failed], outcome.failed)
        return outcome

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    async def _use(self, use: Callable[[H], Awaitable[T]]) -> T:
        if self._handler is None:
            context = self._build()
            self._handler = await context.__aenter__()
            self._context = context  # kept open: the container is frozen and thawed, never closed
        return await use(self._handler)


def read_batch(event: Any) -> list[Delivery]:
    """The deliveries of an SQS event.

    Raises:
        MalformedError: it is not one, as a whole or in any of its records.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not records:
        raise MalformedError("not an SQS batch: there is no list of Records")
    deliveries = []
    for index, record in enumerate(records):
        try:
            if record["eventSource"] != "aws:sqs":
                raise MalformedError(f"not an SQS batch: Records[{index}] comes from {record['eventSource']!r}")
            attributes = record.get("attributes", {})
            delivery = Delivery(
                id=_text(record["messageId"]),
                body=_text(record["body"]),
                receives=int(attributes.get("ApproximateReceiveCount", 1)),
                sent_at=sent_at_of(attributes),
                queue=str(record.get("eventSourceARN", "unknown")).rpartition(":")[2],
                trace=attributes.get("AWSTraceHeader"),
            )
            deliveries.append(delivery)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise MalformedError(f"not an SQS batch: Records[{index}] {what}") from error
    return deliveries


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"has {value!r} where text is expected")
    return value


def respond(event: Any, outcome: Outcome, context: Any) -> Mapping[str, Any]:
    """The partial batch response: exactly the failed records come again."""

    def check(record: SQSRecord) -> None:
        if record.message_id in outcome.failed:
            raise DeliveryFailedError(outcome.reasons[record.message_id])

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event=event, record_handler=check, processor=processor, context=context)
