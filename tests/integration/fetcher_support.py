"""The fetcher as a Lambda function in a process of its own, and its deployment as seen from outside."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from contracts.fetching import FetchSegment
from contracts.runs import RunMode, RunState
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.deliveries import Delivery
from services.runtime.ledger import Run, ScanCounts, Step
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.unit.fetcher.world import NAME, RUN_ID, at, delivery, key_of

ANSWER = "answer: "
CONTAINER = f"""
import json, sys
from services.fetcher.handler import handler

for line in sys.stdin:
    print("{ANSWER}" + json.dumps(handler(json.loads(line), None)), flush=True)
"""


class Deployment:
    """What a test looks at from outside."""

    def __init__(self, stack: Stack, clients: Clients) -> None:
        self.stack = stack
        self.clients = clients
        self.ledger = DynamoLedger(clients.dynamodb, stack.resource("ledger"), SystemClock())
        self.publisher = AwsPublisher(clients.sqs, clients.sns, stack.name, SystemClock())

    async def begin(self, *segments: str) -> None:
        """Open and start the run."""
        await self.ledger.open_run(
            Run(RUN_ID, NAME, RunMode.INCREMENTAL, RunState.PLANNING, SystemClock().now().isoformat())
        )
        await self.ledger.plan_segments(RUN_ID, [(segment, 0) for segment in segments])
        await self.ledger.start_run(RUN_ID, planned=len(segments), scan=ScanCounts(), frontier=at(59))

    async def rows(self, segment_id: str) -> list[dict[str, Any]]:
        """The rows of a segment's raw object, which has one version."""
        bucket, key = self.stack.resource("raw"), key_of(segment_id)
        versions = await self.clients.s3.list_object_versions(Bucket=bucket, Prefix=key)
        assert len(versions["Versions"]) == 1
        answer = await self.clients.s3.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as stream:
            lines = gzip.decompress(await stream.read()).splitlines()
        assert answer["Metadata"] == {"tidegate-rows": str(len(lines))}
        assert (answer["ContentType"], answer.get("ContentEncoding", "")) == ("application/x-ndjson", "")
        entry = await self.ledger.segment(RUN_ID, segment_id)
        assert entry is not None
        assert (entry.step, entry.fetched, entry.raw_location) == (Step.FETCHED, len(lines), f"{bucket}/{key}")
        return [json.loads(line) for line in lines]

    async def announced(self) -> list[str]:
        """Keys of the raw objects that the validator hears of."""
        queue = await self.clients.sqs.get_queue_url(QueueName=self.stack.resource("validate-objects"))
        answer = await self.clients.sqs.receive_message(QueueUrl=queue["QueueUrl"], MaxNumberOfMessages=10)
        found = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [record["s3"]["object"]["key"] for body in found for record in body.get("Records", [])]


class Function:
    """The Lambda function in a process of its own, as a container would run it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def __call__(self, *payloads: FetchSegment, receives: int = 1) -> list[str]:
        """Invoke it with one batch; the ids of the messages that must come again."""
        return await asyncio.to_thread(self._invoke, [delivery(payload, receives=receives) for payload in payloads])

    def _invoke(self, deliveries: Sequence[Delivery]) -> list[str]:
        records = [
            {
                "messageId": each.id,
                "body": each.body,
                "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": str(each.receives)},
            }
            for each in deliveries
        ]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"Records": records}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(ANSWER):  # other lines are metrics
                response = json.loads(line.removeprefix(ANSWER))
                return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        raise AssertionError("the function ended")


@contextmanager
def running_function() -> Iterator[Function]:
    """A function with this process's environment, for a block."""
    process = subprocess.Popen(
        [sys.executable, "-c", CONTAINER],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Function(process)
    finally:
        try:
            process.communicate(timeout=20)
        finally:
            process.kill()
