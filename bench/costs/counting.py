"""A proxy in front of AWS that counts what one service asks for, in the units that AWS bills."""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-encoding", "date", "server"})
WRITE_UNIT = 1024
READ_UNIT = 4096
_LARGEST_BODY = 1 << 30


@dataclass
class Bill:
    """Billed units by name, and the spans of time in which messages were worked on."""

    units: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    _polled: dict[str, float] = field(default_factory=dict)
    _spans: list[tuple[str, float, float]] = field(default_factory=list)

    def busy(self) -> tuple[int, float]:
        """How many spans of work there were, and their seconds; what overlaps in one queue is one batch."""
        count, seconds = 0, 0.0
        for queue in {span[0] for span in self._spans}:
            end = float("-inf")
            for _, since, until in sorted(span for span in self._spans if span[0] == queue):
                count += since > end
                seconds += max(0.0, until - max(since, end))
                end = max(end, until)
        return count, seconds

    def dynamodb(self, operation: str, body: Any, answer: bytes) -> None:
        """Count request units from what is sent and what comes back; JSON is a little longer than DynamoDB counts."""
        if operation == "TransactWriteItems":
            self.units["dynamodb write units"] += sum(2 * _units(each, WRITE_UNIT) for each in body["TransactItems"])
        elif operation == "BatchWriteItem":
            items = [item for table in body["RequestItems"].values() for item in table]
            self.units["dynamodb write units"] += sum(_units(each, WRITE_UNIT) for each in items)
        elif operation in {"PutItem", "UpdateItem", "DeleteItem"}:
            self.units["dynamodb write units"] += _units(body.get("Item", {}), WRITE_UNIT)
        elif operation in {"BatchGetItem", "TransactGetItems"}:
            keys = [key for table in body.get("RequestItems", {}).values() for key in table["Keys"]]
            self.units["dynamodb read units"] += max(len(keys), 1)
        else:
            self.units["dynamodb read units"] += max(1, -(-len(answer) // READ_UNIT))

    def sqs(self, operation: str, body: Any, answer: bytes) -> None:
        """Count requests but those that bring nothing, and remember how long messages are worked on.

        A lane does not ask for more while it works, so its work begins with the end of its last question.
        """
        now = time.monotonic()
        queue = body.get("QueueUrl", "").rpartition("/")[2]
        if operation == "ReceiveMessage":
            self._polled[queue] = now
            self.units["sqs requests"] += bool(json.loads(answer or b"{}").get("Messages"))
            return
        self.units["sqs requests"] += 1
        if operation in {"DeleteMessage", "DeleteMessageBatch"}:
            self._spans.append((queue, self._polled[queue], now))

    def s3(self, method: str, query: str, sent: int, received: int) -> None:
        """Count by the class of a request."""
        listing = method == "GET" and "list-type" in query
        if method == "DELETE":
            self.units["s3 deletes (free)"] += 1
        elif listing or method in {"PUT", "POST"}:
            self.units["s3 writes and lists"] += 1
            self.units["s3 bytes written"] += sent
        else:
            self.units["s3 reads"] += 1
            self.units["s3 bytes read"] += received


def _units(item: Any, size: int) -> int:
    return max(1, -(-len(json.dumps(item)) // size))


class CountingProxy:
    """Async context manager; ``url`` is what one service's AWS_ENDPOINT_URL must be."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.url = ""
        self.bill = Bill()

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        address = self._upstream + request.raw_path
        async with self._client.request(
            request.method, URL(address, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as got:
            answer = await got.read()
            kept = [(name, value) for name, value in got.headers.items() if name.lower() not in HOP_BY_HOP]
        self._count(request, body, answer)
        return web.Response(status=got.status, body=None if request.method == "HEAD" else answer, headers=kept)

    def _count(self, request: web.Request, body: bytes, answer: bytes) -> None:
        service, _, operation = request.headers.get("X-Amz-Target", "").rpartition(".")
        if service.startswith("DynamoDB"):
            self.bill.dynamodb(operation, json.loads(body), answer)
        elif service == "AmazonSQS":
            self.bill.sqs(operation, json.loads(body), answer)
        elif service == "secretsmanager":
            self.bill.units["secrets calls"] += 1
        elif b"Action=Publish" in body[:200] or b"&Action=Publish" in body:
            operation = "Publish"
            self.bill.units["sns publishes"] += 1
        else:
            operation = f"s3 {request.method}"
            self.bill.s3(request.method, request.query_string, len(body), len(answer))
        self.bill.operations[operation] += 1
