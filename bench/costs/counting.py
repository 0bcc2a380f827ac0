"""A proxy in front of AWS that counts what one service asks for, in the units that AWS bills."""

import asyncio
import json
import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web
from yarl import URL

from bench.costs.seconds import LATENCY_S

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-encoding", "date", "server"})
WRITE_UNIT = 1024
READ_UNIT = 4096
UNITS = {"sqs": "sqs requests", "sns": "sns publishes", "secrets": "secrets calls"}
"""What one request of a service is counted as, where it is one whatever it asks."""
_LARGEST_BODY = 1 << 30


class Span(NamedTuple):
    """One request: whom it asked, and when, in seconds of this process' clock."""

    kind: str
    since: float
    until: float


@dataclass
class Bill:
    """Billed units by name, operations by name, and every request."""

    units: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    spans: list[Span] = field(default_factory=list)

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


def round_trips(spans: Iterable[Span]) -> Counter[str]:
    """By whom it asks: the longest of all chains of requests of which each began when the one before had ended.

    So long a piece of work waits at least, with whatever else it asks at the same time.
    """
    ordered = sorted(spans, key=lambda span: span.until)
    ends = [span.until for span in ordered]
    before = [bisect_right(ends, span.since, hi=number) for number, span in enumerate(ordered)]
    longest = [0.0]
    for number, span in enumerate(ordered):
        longest.append(max(longest[number], longest[before[number]] + LATENCY_S[span.kind]))
    found: Counter[str] = Counter()
    number = len(ordered)
    while number:
        if longest[number] == longest[number - 1]:
            number -= 1
        else:
            found[ordered[number - 1].kind] += 1
            number = before[number - 1]
    return found


def waiting_s(spans: Iterable[Span], since: float, until: float) -> float:
    """Seconds of a time in which at least one request was under way."""
    seconds, end = 0.0, since
    for span in sorted(spans, key=lambda span: span.since):
        seconds += max(0.0, min(span.until, until) - max(span.since, end))
        end = max(end, span.until)
    return seconds


def _units(item: Any, size: int) -> int:
    return max(1, -(-len(json.dumps(item)) // size))


class CountingProxy:
    """Async context manager; ``url`` is what one service's AWS_ENDPOINT_URL must be.

    Every answer takes as long as AWS is assumed to take (``LATENCY_S``): else what runs side by side there would run
    one after the other here.
    """

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
        since = time.monotonic()
        body = await request.read()
        kind, operation = _asked(request, body)
        await asyncio.sleep(LATENCY_S[kind])
        headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        address = self._upstream + request.raw_path
        async with self._client.request(
            request.method, URL(address, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as got:
            answer = await got.read()
            kept = [(name, value) for name, value in got.headers.items() if name.lower() not in HOP_BY_HOP]
        self._count(kind, operation, request, body, answer)
        self.bill.spans.append(Span(kind, since, time.monotonic()))
        return web.Response(status=got.status, body=None if request.method == "HEAD" else answer, headers=kept)

    def _count(self, kind: str, operation: str, request: web.Request, body: bytes, answer: bytes) -> None:
        if kind == "dynamodb":
            self.bill.dynamodb(operation, json.loads(body), answer)
        elif kind == "s3":
            self.bill.s3(request.method, request.query_string, len(body), len(answer))
        elif kind != "sns" or operation.startswith("Publish"):
            self.bill.units[UNITS[kind]] += 1
        self.bill.operations[operation] += 1


def _asked(request: web.Request, body: bytes) -> tuple[str, str]:
    service, _, operation = request.headers.get("X-Amz-Target", "").rpartition(".")
    kinds = {"AmazonSQS": "sqs", "secretsmanager": "secrets"}
    if service.startswith("DynamoDB"):
        return "dynamodb", operation
    if service in kinds:
        return kinds[service], operation
    if found := re.search(rb"(?:^|&)Action=(\w+)", body if _is_form(request) else b""):
        return "sns", found[1].decode()
    return "s3", f"s3 {request.method}"


def _is_form(request: web.Request) -> bool:
    return request.content_type == "application/x-www-form-urlencoded"
