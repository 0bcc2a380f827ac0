"""What a test asks of a deployed stack: its functions, their roles and logs, its queues."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from contracts.envelope import Message, Payload
from services.console.local.state import REGION
from services.console.session import Session
from tests.deploy.cloud import ACCOUNT, Deployed

POLL_S = 0.25
PATIENCE_S = 240.0
"""Nothing here takes this long, but the machine may be busy with something else."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What an invocation came to."""

    payload: Any
    error: str | None
    seconds: float

    @property
    def failed(self) -> bool:
        """The invocation ended with an error, or some of its messages failed."""
        return self.error is not None or bool(isinstance(self.payload, dict) and self.payload.get("batchItemFailures"))


@dataclass(frozen=True)
class Asking:
    """Clients of one test, beside those of the operator's session."""

    deployed: Deployed
    session: Session
    iam: Any
    functions: Any
    cloudwatch: Any
    logs: Any

    def function(self, service: str) -> str:
        """The deployed name of a service's function, and of its role."""
        return self.deployed.resource(service.replace("_", "-"))

    def message(self, payload: Payload, run_id: str) -> str:
        """A command as its sender would put it into a queue."""
        at = self.session.clock.now()
        return Message.wrap(payload, message_id=uuid4(), run_id=run_id, occurred_at=at).model_dump_json()

    def event(self, queue: str, *bodies: str, receipt: str = "", receives: int = 1) -> Json:
        """What an event source mapping would hand over; no message is behind it.

        With a receipt a function tries to give back what failed.
        """
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.deployed.resource(queue)}"
        records = [{"messageId": str(uuid4()), "body": body, "eventSource": "aws:sqs"} for body in bodies]
        more = {"eventSourceARN": arn, "receiptHandle": receipt}
        attributes = {"ApproximateReceiveCount": str(receives)}
        return {"Records": [{**record, **more, "attributes": attributes} for record in records]}

    async def invoke(self, service: str, event: Mapping[str, Any]) -> Answer:
        """Invoke a function and wait for its answer."""
        started = time.monotonic()
        answer = await self.functions.invoke(FunctionName=self.function(service), Payload=json.dumps(event).encode())
        payload = json.loads(await answer["Payload"].read() or b"null")
        return Answer(payload, answer.get("FunctionError"), time.monotonic() - started)

    @asynccontextmanager
    async def resting(self, service: str) -> AsyncIterator[None]:
        """A block in which a function is left alone by its queues."""
        await self.read_queues(service, enabled=False)
        try:
            yield
        finally:
            await self.read_queues(service, enabled=True)

    async def read_queues(self, service: str, *, enabled: bool) -> None:
        """Let a function read its queues, or not."""
        mappings = await self.functions.list_event_source_mappings(FunctionName=self.function(service))
        for mapping in mappings["EventSourceMappings"]:
            await self.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)

    async def make_cold(self, service: str) -> None:
        """Let the next invocation start a new container, as after a deployment; the configuration stays what it was."""
        name = self.function(service)
        found = await self.functions.get_function_configuration(FunctionName=name)
        await self.functions.update_function_configuration(FunctionName=name, Environment=found["Environment"])

    async def statements(self, service: str, policy: str) -> list[Json]:
        """The statements of one of a role's policies: ``base`` or ``service``."""
        found = await self.iam.get_role_policy(RoleName=self.function(service), PolicyName=policy)
        document = found["PolicyDocument"]
        return list((json.loads(document) if isinstance(document, str) else document)["Statement"])

    @asynccontextmanager
    async def without(self, service: str, policy: str, *sids: str, instead: Sequence[Json] = ()) -> AsyncIterator[None]:
        """A role without some of its statements, or with others instead, for a block."""
        statements = await self.statements(service, policy)
        left = [each for each in statements if each["Sid"] not in sids]
        assert len(statements) - len(left) == len(sids), f"{service} has no statements {sids}"
        await self._put(service, policy, [*left, *instead])
        try:
            yield
        finally:
            await self._put(service, policy, statements)

    async def _put(self, service: str, policy: str, statements: Sequence[Json]) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        await self.iam.put_role_policy(
            RoleName=self.function(service), PolicyName=policy, PolicyDocument=json.dumps(document)
        )

    async def lines(self, service: str, text: str = "", *, since_ms: int = 0) -> list[Json]:
        """What a function has logged as JSON since then, or those lines that have a text in them."""
        found: list[Json] = []
        group = f"/aws/lambda/{self.function(service)}"
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since_ms)
        async for page in pages:
            for event in page["events"]:
                message = event["message"].strip()
                if message.startswith("{") and text in message:
                    found.append(json.loads(message))
        return found

    async def count(self, queue: str) -> int:
        """Messages in a queue that nobody holds."""
        url = (await self.session.clients.sqs.get_queue_url(QueueName=self.deployed.resource(queue)))["QueueUrl"]
        asked = await self.session.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return int(asked["Attributes"]["ApproximateNumberOfMessages"])


async def eventually(holds: Callable[[], Awaitable[bool]], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it still does not after ``within_s`` seconds.
    """
    deadline = time.monotonic() + within_s
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(POLL_S)
