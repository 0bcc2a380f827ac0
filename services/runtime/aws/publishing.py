"""Commands through SQS, facts through SNS."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from contracts.envelope import Message, Payload
from services.runtime.aws import tables
from services.runtime.aws.errors import DENIED, translated
from services.runtime.clock import Clock
from services.runtime.failures import AccessDeniedError, MalformedError, MissingObjectError, UnreachableError
from services.runtime.tracing import carried_header

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

TOPIC = "pipeline-events"
BATCH_ENTRIES = 10
"""Most messages SQS takes in one request."""
MESSAGE_BYTES = 256 * 1024
"""Most bytes of one message, with its attributes, and of one request: SNS takes no more, and a queue takes more only
where its ``MaximumMessageSize`` was raised."""
IN_FLIGHT = 4
"""Requests sent side by side by one call."""


class AwsPublisher:
    """``Publisher`` over SQS and SNS. Addresses are looked up once and kept."""

    def __init__(self, sqs: "SQSClient", sns: "SNSClient", stack: str, clock: Clock) -> None:
        self._sqs = sqs
        self._sns = sns
        self._stack = stack
        self._clock = clock
        self._queues: dict[str, str] = {}
        self._topic: str | None = None

    async def send(self, queue: str, payloads: Sequence[Payload], *, run_id: str) -> None:
        """Send commands to a queue (its logical name), ten to a request.

        After an error some of them may have been sent: send all of them again.

        Raises:
            MalformedError: a message is over 256 KiB (nothing was sent), or SQS refused its content.
            MissingObjectError: there is no such queue.
            UnreachableError: SQS does not answer, or keeps failing some of the messages.
        """
        if not payloads:
            return
        bodies = [self._wrap(payload, run_id) for payload in payloads]
        for payload, body in zip(payloads, bodies, strict=True):
            _check(payload, len(body.encode()), "SQS")
        url = await self._queue_url(queue)

        async def send(batch: Sequence[str]) -> None:
            await self._send_batch(url, batch)

        await tables.each(in_batches(bodies), send, limit=IN_FLIGHT)

    async def announce(self, fact: Payload, *, run_id: str) -> None:
        """Publish a fact to the ``pipeline-events`` topic, with ``kind`` and ``pipeline`` as attributes.

        Raises:
            MalformedError: the message is over 256 KiB; nothing was published.
            MissingObjectError: there is no such topic.
        """
        body = self._wrap(fact, run_id)
        attributes = {"kind": fact.kind(), "pipeline": str(getattr(fact, "pipeline", ""))}
        overhead = sum(len(f"{name}String{value}".encode()) for name, value in attributes.items())
        _check(fact, len(body.encode()) + overhead, "SNS")
        topic = await self._topic_arn()
        with translated(f"Publish {topic}"):
            await self._sns.publish(
                TopicArn=topic,
                Message=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
                },
            )

    async def _send_batch(self, url: str, bodies: Sequence[str]) -> None:
        """Send one request's worth; only what SQS reports as failed is sent again."""
        what = f"SendMessageBatch {url}"
        pending = {str(number): body for number, body in enumerate(bodies)}
        failures: list[Any] = []
        for attempt in range(tables.ATTEMPTS):
            await tables.pause(attempt)
            with translated(what):
                answer = await self._sqs.send_message_batch(
                    QueueUrl=url, Entries=[{"Id": number, "MessageBody": body} for number, body in pending.items()]
                )
            failures = answer.get("Failed", [])
            if not failures:
                return
            _refuse(failures, what)
            pending = {failure["Id"]: pending[failure["Id"]] for failure in failures}
        raise UnreachableError(f"{what}: {len(pending)} messages failed {tables.ATTEMPTS} times: {failures[0]['Code']}")

    async def _queue_url(self, queue: str) -> str:
        if queue not in self._queues:
            name = f"{self._stack}-{queue}"
            with translated(f"GetQueueUrl {name}"):
                answer = await self._sqs.get_queue_url(QueueName=name)
            self._queues[queue] = answer["QueueUrl"]
        return self._queues[queue]

    async def _topic_arn(self) -> str:
        if self._topic is None:
            name = f"{self._stack}-{TOPIC}"
            with translated(f"ListTopics for {name}"):
                async for page in self._sns.get_paginator("list_topics").paginate():
                    for topic in page["Topics"]:
                        if topic["TopicArn"].endswith(f":{name}"):
                            self._topic = topic["TopicArn"]
                            return self._topic
            raise MissingObjectError(f"topic {name} does not exist")
        return self._topic

    def _wrap(self, payload: Payload, run_id: str) -> str:
        message = Message.wrap(
            payload, message_id=uuid4(), run_id=run_id, occurred_at=self._clock.now(), trace=carried_header()
        )
        return message.model_dump_json()


def in_batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    """Split into requests, in order, within the limits on their number and on their bytes together."""
    batch: list[str] = []
    held = 0
    for body in bodies:
        size = len(body.encode())
        if batch and (len(batch) == BATCH_ENTRIES or held + size > MESSAGE_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(body)
        held += size
    if batch:
        yield batch


def _check(payload: Payload, size: int, service: str) -> None:
    if size > MESSAGE_BYTES:
        raise MalformedError(
            f"{payload.kind()} {payload.dedup_id()} is {size} bytes, {service} takes {MESSAGE_BYTES}: use a claim check"
        )


def _refuse(failures: Sequence[Any], what: str) -> None:
    for failure in failures:
        if failure["SenderFault"] and "Throttl" not in failure["Code"]:  # a busy key counts as the sender's fault
            text = f"{what}: {failure['Code']}: {failure.get('Message', '')}"
            raise AccessDeniedError(text) if failure["Code"] in DENIED else MalformedError(text)
