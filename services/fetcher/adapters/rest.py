"""Records of JSON APIs, page by page.

What the pages can and cannot promise stands in docs/sources.md.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import aiohttp
import structlog
from yarl import URL

from contracts.loads import FetchSlice
from contracts.pipelines import Pipeline
from contracts.sources import RestSource
from services.runtime.budgets import RateBudget
from services.runtime.clock import Clock, SystemClock
from services.runtime.datasets import Block
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.http.exchange import Endpoint, Exchange, Pacing, RefusedError
from services.runtime.http.moments import zulu
from services.runtime.http.pages import DIGEST_BYTES, Page, Window, page_of
from services.runtime.http.retries import RetryPolicy
from services.runtime.http.sessions import open_session
from services.runtime.http.tokens import ApiKey, TokenSource, no_token
from services.runtime.secrets import Secrets

if TYPE_CHECKING:
    from types import TracebackType

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Most bytes of one answer, unpacked: 50,000 records of a kilobyte, which are in memory a few times over."""
MAX_PAGES = 100_000
"""Of one pass; an API that still goes on then does not page."""
MAX_PASSES = 5
"""Readings of all pages before they are given up as moving too fast."""
REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})
"""What an API answers that knows no lower bound."""

log = structlog.get_logger()


class RestRecords:
    """``Records`` of JSON APIs. Async context manager: its HTTP session."""

    def __init__(
        self,
        budget: RateBudget,
        secrets: Secrets,
        *,
        clock: Clock | None = None,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._budget = budget
        self._secrets = secrets
        self._pacing = Pacing(policy or RetryPolicy(), clock or SystemClock(), sleep, dice)
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = open_session(self._pacing.policy.silence_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        await self._http.close()

    async def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[Block]:
        """See the port. A record without a readable cursor is passed on: who judges records says so.

        Raises:
            BadDeclarationError: the declaration does not say what to ask.
            PermanentError: the source refuses, contradicts its declaration, or its answers stay broken.
            TemporaryError: it throttles, fails or breaks off in every attempt, or its pages move all the time.
        """
        name, source = pipeline.name, pipeline.source
        if not isinstance(source, RestSource):
            raise BadDeclarationError(f"{name}: source.kind {source.kind!r} is not read from an API")
        exchange = Exchange(self._http, _endpoint(name, source), self._budget, self._token(name, source), self._pacing)
        reading = _Reading(name, source, exchange, Window.of(command.slice))
        async for lines in reading.lines():
            if lines:
                yield Block(b"".join(lines), len(lines))

    def _token(self, pipeline: str, source: RestSource) -> TokenSource:
        if source.secret is None:
            return no_token
        return ApiKey(_value(pipeline, "secret", source.secret), self._secrets)


class _Reading:
    """Reads one window."""

    def __init__(self, name: str, source: RestSource, exchange: Exchange, window: Window) -> None:
        self._name = name
        self._source = source
        self._exchange = exchange
        self._window = window
        self._since = {} if source.since is None else {source.since: zulu(window.asked)}

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """The window's records, in the pages that hold some."""
        match self._source.pagination:
            case "none":
                yield (await self._first({})).lines
            case "cursor":
                async for page in self._by_cursor():
                    yield page.lines
            case "page":
                async for lines in self._settled():
                    yield lines

    async def _settled(self) -> AsyncIterator[list[bytes]]:
        """Numbered pages, read until none of them can have hidden a record.

        A record that changes while its page's neighbours are read moves to where changed records stand, and the rest
        close up: the first one of the next page slips into a page that was read. Such a change shows as a record at or
        after the window's end; then all is read again, until a pass brings nothing that is new.
        """
        seen: set[bytes] = set()
        for passes in range(1, MAX_PASSES + 1):
            pages = beyond = fresh = 0
            async for page in self._by_number():
                new = _unseen(page.lines, seen)
                pages, beyond, fresh = pages + 1, beyond + page.beyond, fresh + len(new)
                yield new
            is_settled = not beyond or (passes > 1 and not fresh)
            if pages <= 1 or is_settled:
                return
            log.info("records changed while their pages were read", pipeline=self._name, passes=passes, fresh=fresh)
        raise TemporaryError(f"{self._name}: {MAX_PASSES} readings of all pages each brought records that are new")

    async def _by_number(self) -> AsyncIterator[Page]:
        """Pages from 1 to the first without records.

        A short page ends nothing: APIs cap their pages, and some filter a page after they cut it.
        """
        source, last = self._source, b""
        for number in range(1, MAX_PAGES + 1):
            params = {source.page_parameter: str(number), source.size_parameter: str(source.page_size)}
            page = await (self._first(params) if number == 1 else self._next(params))
            if not page.received:
                return
            if page.digest == last:
                raise PermanentError(
                    f"{self._name}: page {number} repeats page {number - 1}: the source does not page by"
                    f" {source.page_parameter!r}"
                )
            last = page.digest
            yield page
        raise self._endless()

    async def _by_cursor(self) -> AsyncIterator[Page]:
        """Pages as each one names the next."""
        source, passed = self._source, set[str]()
        size = {source.size_parameter: str(source.page_size)}
        page = await self._first(size)
        for _ in range(MAX_PAGES):
            yield page
            following = page.next_cursor
            if following is None:
                return
            if following in passed:
                raise PermanentError(f"{self._name}: {source.next_cursor} {following!r} came twice, so it never ends")
            passed.add(following)
            page = await self._next({source.cursor_parameter: following, **size})
        raise self._endless()

    async def _first(self, params: dict[str, str]) -> Page:
        """The first page; without the lower bound where the source refuses that."""
        try:
            return await self._next(params)
        except RefusedError as refused:
            if not self._since or refused.status not in REFUSALS:
                raise
            log.warning("the source refuses a lower bound, so everything is read", why=str(refused))
        self._since = {}
        return await self._next(params)

    async def _next(self, params: dict[str, str]) -> Page:
        return await self._exchange.ask(self._since | params, self._page)

    def _page(self, body: bytes) -> Page:
        source = self._source
        following = source.next_cursor if source.pagination == "cursor" else None
        return page_of(body, records=source.records, cursor=source.cursor, next_cursor=following, window=self._window)

    def _endless(self) -> PermanentError:
        return PermanentError(f"{self._name}: {MAX_PAGES} pages and no end")


def _unseen(lines: list[bytes], seen: set[bytes]) -> list[bytes]:
    """The lines that were not seen before; they are now."""
    new = []
    for line in lines:
        digest = blake2b(line, digest_size=DIGEST_BYTES).digest()
        if digest not in seen:
            seen.add(digest)
            new.append(line)
    return new


def _endpoint(name: str, source: RestSource) -> Endpoint:
    """Where a source is asked.

    Raises:
        BadDeclarationError: its address is none, or its pagination cannot be read.
    """
    text = _value(name, "url", source.url)
    try:
        url = URL(text)
    except ValueError as error:
        raise BadDeclarationError(f"{name}: source.url is not an address: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        raise BadDeclarationError(f"{name}: source.url must be http(s)://HOST[:PORT][/PATH]")
    if url.user is not None or url.password is not None:
        raise BadDeclarationError(f"{name}: source.url holds credentials; they belong into a secret")
    if source.pagination == "cursor" and source.records is None:
        raise BadDeclarationError(
            f"{name}: pagination 'cursor' needs source.records: an array has no {source.next_cursor}"
        )
    return Endpoint(
        address=text.rstrip("/") + source.path,
        budget=url.host,
        requests_per_second=source.requests_per_second,
        token_header=source.header,
        max_bytes=MAX_ANSWER_BYTES,
        size_setting="page_size",
        label={"pipeline": name},
        broken_is_final=True,
    )


def _value(name: str, field: str, text: str) -> str:
    """A declared text without variables that nobody set.

    Raises:
        BadDeclarationError: there is one; the text names it.
    """
    if (variable := unset_variable(text)) is not None:
        raise BadDeclarationError(f"{name}: source.{field} needs the variable {variable}, which is not set")
    return text
