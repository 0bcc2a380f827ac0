"""A portal that answers as scripted, and a client of it whose time is the test's."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import SecretStr

from contracts.fetching import KeyRange
from contracts.pipelines import Pipeline
from contracts.sources import ObjectSource, SocrataSource
from services.runtime.datasets import Block, Position
from services.runtime.http.retries import RetryPolicy
from services.runtime.http.tokens import TokenSource, no_token
from services.runtime.socrata.client import SocrataDataset, SocrataDatasets
from tests.fakes.budgets import FakeRateBudget
from tests.fakes.clock import ManualClock

PIPELINE = "requests"
DAY = KeyRange(start="2026-08-01T00:00:00.000", before="2026-08-02T00:00:00.000")
ROWS = b'[{"at":"2026-08-01T00:00:14.000","id":"1"}\n,{"at":"2026-08-01T00:00:15.000","id":"2"}]\n'


@dataclass(frozen=True)
class Reply:
    """One answer; ``cut`` closes the connection after so many bytes of the body, ``silent`` sends none at all."""

    status: int = 200
    body: bytes = ROWS
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    has_length: bool = True
    silent: bool = False


@dataclass
class ScriptedPortal:
    """Gives the scripted replies in order, the last one for ever."""

    script: deque[Reply] = field(default_factory=lambda: deque([Reply()]))
    requests: list[web.BaseRequest] = field(default_factory=list)
    domain: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets go of the requests that were never answered."""

    def replies(self, *replies: Reply) -> None:
        """Set the script."""
        self.script = deque(replies)

    @property
    def queries(self) -> list[dict[str, str]]:
        """The parameters of each request."""
        return [dict(parse_qsl(request.rel_url.raw_query_string)) for request in self.requests]

    @property
    def tokens(self) -> list[str | None]:
        """The token of each request."""
        return [request.headers.get("X-App-Token") for request in self.requests]

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.requests.append(request)
        reply = self.script.popleft() if len(self.script) > 1 else self.script[0]
        if reply.silent:
            await self.over.wait()
        if reply.cut is None and reply.has_length:
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        answer = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.has_length:
            answer.content_length = len(reply.body)
        else:
            answer.force_close()
        await answer.prepare(request)
        await answer.write(reply.body[: reply.cut])
        if reply.cut is not None:
            assert request.transport
            request.transport.close()
        return answer


@dataclass
class Time:
    """Time that passes only where somebody waits; ``waits`` is each wait, in seconds."""

    clock: ManualClock = field(default_factory=ManualClock)
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        self.waits.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


@dataclass
class ScriptedToken:
    """A token source with a stored value that tests replace."""

    stored: str
    reads: list[bool] = field(default_factory=list)
    """Each read, as whether it had to be fresh."""
    cached: str = ""

    async def __call__(self, *, fresh: bool = False) -> SecretStr:
        """See ``TokenSource``."""
        self.reads.append(fresh)
        if fresh or not self.cached:
            self.cached = self.stored
        return SecretStr(self.cached)


@dataclass
class Bench:
    """A client of the scripted portal. Its dice always fall highest, so that waits are whole back-offs."""

    portal: ScriptedPortal
    datasets: SocrataDatasets
    time: Time
    budget: FakeRateBudget

    @property
    def dataset(self) -> SocrataDataset:
        """The one dataset there is."""
        return self.datasets.of(PIPELINE)

    async def page(self, within: KeyRange = DAY, after: Position | None = None, limit: int = 1_000) -> Block:
        """One page of it."""
        return await self.dataset.page(within, after, limit)


def source_at(domain: str) -> SocrataSource:
    """The source that the bench declares."""
    return SocrataSource(
        kind="socrata",
        domain=domain,
        dataset="abcd-1234",
        where="status = 'Open'",
        cursor="at",
        unique_key="id",
        requests_per_second=1_000.0,
    )


def pipelines_over(source: SocrataSource) -> dict[str, Pipeline]:
    """A collected pipeline, and one that is not collected."""
    collected = Pipeline.parse(
        {
            "name": PIPELINE,
            "entity": "request",
            "columns": {
                source.unique_key: {"type": "string", "required": True},
                source.cursor: {"type": "timestamp_us", "required": True},
            },
            "source": source.model_dump(),
            "target": {"kind": "partitions", "key": "out/data_{run_date}.parquet", "order_by": source.cursor},
        },
        where="test",
    )
    uploads = ObjectSource(kind="objects", key_patterns=[".*"])
    return {PIPELINE: collected, "uploads": collected.model_copy(update={"name": "uploads", "source": uploads})}


@asynccontextmanager
async def open_bench(
    *, token: TokenSource = no_token, policy: RetryPolicy | None = None, source: Mapping[str, object] | None = None
) -> AsyncIterator[Bench]:
    """Serve a portal and open a client of it; ``source`` replaces fields of the declaration."""
    portal, time = ScriptedPortal(), Time()
    budget = FakeRateBudget(time.clock)
    runner = web.ServerRunner(web.Server(portal), shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        portal.domain = f"http://127.0.0.1:{runner.addresses[0][1]}"
        declared = source_at(portal.domain).model_copy(update=source or {})
        async with SocrataDatasets(
            pipelines_over(declared),
            budget,
            token,
            clock=time.clock,
            policy=policy or replace(RetryPolicy(), silence_s=10.0),
            sleep=time.sleep,
            dice=lambda: 1.0,
        ) as datasets:
            yield Bench(portal, datasets, time, budget)
    finally:
        portal.over.set()
        await runner.cleanup()
