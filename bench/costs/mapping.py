"""What Lambda does between a queue and a function: gathers a batch, invokes, deletes what did not fail."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.costs.counting import Bill, waiting_s
from contracts.topology import Queue
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT

MOST_AT_ONCE = 10
"""Messages of one SQS request."""
ASKING_OTHERS = ("planner", "fetcher", "chunk_worker")
"""Services that wait for something besides AWS: a source, a database."""
LONGEST_LINE = 1 << 26
"""Bytes of an answer of the function's process."""


@dataclass
class Taken:
    """What invocations took so far; seconds on the clock, of processors, and waiting for what is not AWS."""

    invocations: int = 0
    messages: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    elsewhere_s: float = 0.0


@dataclass
class Function:
    """A service's handler in a process of its own, one invocation at a time."""

    service: str
    bill: Bill
    process: asyncio.subprocess.Process
    taken: Taken = field(default_factory=Taken)
    _free: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def invoke(self, event: Mapping[str, Any]) -> set[str]:
        """Hand an event to the handler; the ids of the messages that failed.

        Raises:
            RuntimeError: the process has ended; its traceback is in its log.
        """
        async with self._free:
            asked, since = len(self.bill.spans), time.monotonic()
            found = await self._answer(json.dumps(event))
            wall_s, cpu_s, queued_s = found["took"]
            aws_s = waiting_s(self.bill.spans[asked:], since, time.monotonic())
            self.taken.invocations += 1
            self.taken.messages += len(event["Records"])
            self.taken.wall_s += wall_s
            self.taken.cpu_s += cpu_s
            if self.service in ASKING_OTHERS:
                self.taken.elsewhere_s += max(0.0, wall_s - cpu_s - queued_s - aws_s)
        return {failure["itemIdentifier"] for failure in found["answer"]["batchItemFailures"]}

    async def ready(self) -> None:
        """Wait until the handler has opened what it needs."""
        await self._answer("")

    async def _answer(self, line: str) -> Any:
        process = self.process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError(f"{self.service} was started without pipes")
        if line:
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
        answer = await process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the {self.service} ended; see its log")
        return json.loads(answer)


@asynccontextmanager
async def started(service: str, bill: Bill, environ: Mapping[str, str], log: Path) -> AsyncIterator[Function]:
    """A function that is warm, for as long as the block runs."""
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.costs.function", service,
            env=dict(environ), cwd=PROJECT, limit=LONGEST_LINE,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
        )  # fmt: skip
    try:
        function = Function(service, bill, process)
        await function.ready()
        yield function
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def feed(queue: Queue, stack: str, clients: Clients, function: Function, let: asyncio.Event) -> None:
    """Be the event source mapping of a queue, while ``let`` is set; only requests that bring something are counted."""
    name = f"{stack}-{queue.name}"
    url = (await clients.sqs.get_queue_url(QueueName=name))["QueueUrl"]
    units = function.bill.units
    while True:
        await let.wait()
        messages = await _gathered(queue, url, clients, function)
        if not messages:
            continue
        failed = await function.invoke(event_of(name, messages))
        done = [message for message in messages if message["MessageId"] not in failed]
        for start in range(0, len(done), MOST_AT_ONCE):
            entries: list[Any] = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(done[start : start + MOST_AT_ONCE])
            ]
            await clients.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            units["sqs requests"] += 1


async def _gathered(queue: Queue, url: str, clients: Clients, function: Function) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    until = float("inf")
    while len(found) < queue.batch_size and time.monotonic() < until:
        most = min(MOST_AT_ONCE, queue.batch_size - len(found))
        answer = await clients.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=most, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"]
        )
        messages = answer.get("Messages", [])
        function.bill.units["sqs requests"] += bool(messages)
        if not found:
            if not messages:
                return []
            until = time.monotonic() + queue.batch_window_s
        found += messages
    return found


def event_of(queue: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Messages as Lambda hands them over."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue}",
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
    }
