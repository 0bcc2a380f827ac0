"""A proxy between one worker and AWS that can hold a request, lose an answer or cut the connection.

Most of what this suite wants to see happens between a request and its answer, in windows of a few milliseconds.
Here a test opens such a window and closes it when it is done, instead of hoping that a pause hits it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-encoding", "date", "server"})
PATIENCE_S = 40.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in; ``target`` is the operation of the JSON protocols (SQS, DynamoDB)."""

    method: str
    path: str
    target: str
    body: bytes


Matches = Callable[[Call], bool]


@dataclass(slots=True)
class Rule:
    """What happens to the first ``times`` calls that match (None: to all).

    ``hold``: wait for ``release``, then forward. ``hold_answer``: forward, wait for ``release``, then answer.
    ``lose``: forward, then close the connection without an answer. ``cut``: close it without forwarding.
    """

    action: Literal["hold", "hold_answer", "lose", "cut"]
    matches: Matches
    times: int | None = 1
    seen: list[Call] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, call: Call) -> bool:
        """Whether this call is one of those; it is then counted."""
        if (self.times is not None and len(self.seen) >= self.times) or not self.matches(call):
            return False
        self.seen.append(call)
        return True

    async def apply(self, forward: Callable[[], "asyncio.Future[_Answer]"]) -> "_Answer | None":
        """Let a call go its way; None when its client is to get no answer."""
        if self.action == "cut":
            self._reached.set()
            return None
        if self.action == "hold":
            self._reached.set()
            await self._released.wait()
        answer = await forward()
        self.statuses.append(answer.status)
        self._answered.set()
        if self.action == "hold_answer":
            self._reached.set()
            await self._released.wait()
        self._reached.set()
        return None if self.action == "lose" else answer

    async def reached(self) -> None:
        """Wait until a call has come to the point where this rule changes its way."""
        await asyncio.wait_for(self._reached.wait(), PATIENCE_S)

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    def end(self) -> None:
        """Take no further calls."""
        self.times = len(self.seen)

    async def answered(self) -> int:
        """Wait until AWS has answered a call; its status."""
        await asyncio.wait_for(self._answered.wait(), PATIENCE_S)
        return self.statuses[-1]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: "CIMultiDict[str]"
    body: bytes


class Proxy:
    """Async context manager; ``url`` is what the worker's AWS_ENDPOINT_URL must be."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._rules: list[Rule] = []
        self.url = ""
        self.calls: list[Call] = []

    def rule(
        self, action: Literal["hold", "hold_answer", "lose", "cut"], matches: Matches, *, times: int | None = 1
    ) -> Rule:
        """Add a rule; of several that match a call the first one added takes it."""
        rule = Rule(action, matches, times)
        self._rules.append(rule)
        return rule

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        # A held call must go on when its client is gone: that is how a request arrives late.
        self._runner = web.AppRunner(
            _application(self._handle), handler_cancellation=False, access_log=None, shutdown_timeout=1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://{}:{}".format(*self._runner.addresses[0][:2])
        return self

    async def __aexit__(self, *_: object) -> None:
        for rule in self._rules:
            rule.release()
        await self._runner.cleanup()
        await self._client.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            request.method,
            request.path,
            request.headers.get("X-Amz-Target", "").rpartition(".")[2],
            await request.read(),
        )

        self.calls.append(call)

        def forward() -> "asyncio.Future[_Answer]":
            return asyncio.ensure_future(self._forward(request, call.body))

        rule = next((rule for rule in self._rules if rule.takes(call)), None)
        answer = await (forward() if rule is None else rule.apply(forward))
        if answer is None or request.transport is None:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=502)  # nobody reads it
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _forward(self, request: web.Request, body: bytes) -> _Answer:
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in {"expect", *HOP_BY_HOP}
        )
        async with self._client.request(request.method, url, headers=headers, data=body) as answer:
            kept = CIMultiDict(
                (name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
            )
            return _Answer(answer.status, kept, await answer.read())


def _application(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.Application:
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", handler)
    return application
