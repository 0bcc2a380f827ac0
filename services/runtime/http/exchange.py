"""One question to a source and its whole answer: the rate budget, the token, and asking again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from pydantic import SecretStr
from yarl import URL

from services.runtime.budgets import RateBudget
from services.runtime.clock import Clock
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.http.answers import Answer, BrokenAnswerError
from services.runtime.http.retries import MAX_SNOOZE_S, RetryPolicy, retry_after
from services.runtime.http.tokens import TokenSource

READ_ASIDE_BYTES = 1024 * 1024
"""An answer from this size on is read in a thread: the loop has heartbeats to send meanwhile."""
SHARE_S = 0.1
"""Seconds' worth of the rate budget that one process takes at once."""

T = TypeVar("T")
log = structlog.get_logger()


class RefusedError(PermanentError):
    """The source refuses the request; ``status`` is its answer's."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Pacing:
    """How an exchange spends time; tests own every part of it."""

    policy: RetryPolicy
    clock: Clock
    sleep: Callable[[float], Awaitable[object]]
    """Waits for seconds."""
    dice: Callable[[], float]
    """Numbers between 0 and 1, for the jitter."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address, and what asking it may cost."""

    address: str
    budget: str
    """Name of the rate budget that everybody who asks there shares."""
    requests_per_second: float
    token_header: str
    max_bytes: int
    """Most bytes of one answer, unpacked."""
    size_setting: str
    """What a declaration has to lower where answers are larger."""
    label: Mapping[str, str]
    """What its lines in the log carry."""
    broken_is_final: bool = False
    """Whether an answer that is broken in every attempt is the source's last word."""

    def url(self, params: Mapping[str, str]) -> URL:
        """The address with these parameters."""
        if not params:
            return URL(self.address, encoded=True)
        mark = "&" if "?" in self.address else "?"
        return URL(f"{self.address}{mark}{urlencode(params, quote_via=quote, safe='$')}", encoded=True)


class Exchange:
    """Asks one endpoint. Safe to use side by side; the rate budget orders what is sent."""

    def __init__(
        self, http: aiohttp.ClientSession, endpoint: Endpoint, budget: RateBudget, token: TokenSource, pacing: Pacing
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._budget = budget
        self._token = token
        self._pacing = pacing
        self._turns = 0
        """Requests that may be sent without asking the budget again."""

    async def ask(self, params: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        """The answer as ``read`` understands it; what ``read`` finds broken is asked for again.

        Raises:
            RefusedError: the source refuses the request; the text has its words and the query.
            PermanentError: the answer is too large, or stays broken where the endpoint takes that as final.
            TemporaryError: no whole answer in all attempts, or the source asks for a longer pause than we hold for.
        """
        what = " ".join(["GET", self._endpoint.address, *(f"{name}={value}" for name, value in params.items())])
        token = await self._token()
        sent = [] if token is None else [token]
        may_refresh, failures, broken = bool(sent), 0, 0
        while True:
            answer = await self._send(params, token)
            if answer.status == HTTPStatus.OK:
                try:
                    return await _understood(answer.body, read)
                except BrokenAnswerError as error:
                    answer = replace(answer, trouble=str(error))
            elif answer.is_refused and may_refresh:
                may_refresh, refused = False, token
                token = await self._token(fresh=True)
                if token is not None and token != refused:
                    sent.append(token)
                    continue
            text = " ".join(f"{what}: {answer.words(sent)}".split())
            if not answer.is_worth_another:
                raise RefusedError(text, answer.status or 0)
            failures, broken = failures + 1, broken + answer.is_broken
            if self._endpoint.broken_is_final and broken >= self._pacing.policy.attempts:
                raise PermanentError(f"{text} ({broken} answers were all like that)")
            await self._hold(text, answer, failures)

    async def _hold(self, text: str, answer: Answer, failures: int) -> None:
        """Wait before the next attempt.

        Raises:
            TemporaryError: there is none, or not within the time that a caller is held for.
        """
        policy = self._pacing.policy
        asked = retry_after(answer.headers, self._pacing.clock.now())
        delay = policy.delay(failures, asked, self._pacing.dice())
        if asked:
            self._turns = 0
            await self._budget.pause(self._endpoint.budget, min(asked, MAX_SNOOZE_S))
        if failures >= policy.attempts:
            raise TemporaryError(f"{text} (attempt {failures} of {policy.attempts})", delay=delay)
        if delay > policy.cap_s:
            raise TemporaryError(f"{text} (the source asks for a pause of {delay:g} s)", delay=delay)
        log.warning("asking the source again", **self._endpoint.label, attempt=failures, wait_s=delay, why=text)
        await self._pacing.sleep(delay)

    async def _send(self, params: Mapping[str, str], token: SecretStr | None) -> Answer:
        await self._wait_for_turn()
        headers = {} if token is None else {self._endpoint.token_header: token.get_secret_value()}
        try:
            # Redirects are not followed: they would carry the token to another host.
            async with self._http.get(self._endpoint.url(params), headers=headers, allow_redirects=False) as response:
                return Answer(response.status, response.headers, await self._body(response))
        except (aiohttp.ClientError, OSError) as error:  # a wait that timed out is an OSError too
            # Not chained: a ClientResponseError carries the request's headers, and with them the token.
            return Answer(None, {}, b"", f"{type(error).__name__}: {error}".rstrip(": "))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body.

        Raises:
            PermanentError: it is larger than anything that was asked for.
        """
        most, parts, size = self._endpoint.max_bytes, [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > most:
                raise PermanentError(
                    f"{response.host}: an answer is over {most} bytes; lower {self._endpoint.size_setting}"
                )
        return b"".join(parts)

    async def _wait_for_turn(self) -> None:
        """Wait for a token of the rate budget.

        Raises:
            TemporaryError: the turn is so far away that the caller had better come back.
        """
        if self._turns > 0:
            self._turns -= 1
            return
        name, rate = self._endpoint.budget, self._endpoint.requests_per_second
        # A tenth of a second's turns at once, so that a fast source is not held up by asking for each.
        turns = max(1, int(rate * SHARE_S))
        wait = await self._budget.take(name, per_second=rate, burst=max(1, round(rate)), count=turns)
        if wait > self._pacing.policy.cap_s:
            raise TemporaryError(f"{name}: the next request is due in {wait:.0f} s", delay=min(wait, MAX_SNOOZE_S))
        if wait > 0:
            await self._pacing.sleep(wait)
        self._turns += turns - 1


async def _understood(body: bytes, read: Callable[[bytes], T]) -> T:
    return read(body) if len(body) < READ_ASIDE_BYTES else await asyncio.to_thread(read, body)
