"""One question to a source and its whole answer: the rate budget, the token, and asking again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import structlog
from pydantic import SecretStr
from yarl import URL

from contracts.sources import SocrataSource
from services.runtime.budgets import RateBudget
from services.runtime.clock import Clock
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.socrata.answers import BrokenAnswerError, message_of
from services.runtime.socrata.retries import MAX_SNOOZE_S, RetryPolicy, retry_after
from services.runtime.socrata.soql import Params
from services.runtime.socrata.tokens import TokenSource

TOKEN_HEADER = "X-App-Token"  # noqa: S105 - a header's name
SHARE_S = 0.1
"""Seconds' worth of the rate budget that one process takes at once."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Most bytes of one answer, unpacked: 50,000 rows of five times the usual size."""
HIDDEN = "**********"
"""Stands where a token stood."""

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pacing:
    """How an exchange spends time; tests own every part of it."""

    policy: RetryPolicy
    clock: Clock
    sleep: Callable[[float], Awaitable[object]]
    dice: Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of one attempt; without a status nothing came back."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    trouble: str = ""
    """Why there is no status, or why the body is of no use."""

    @property
    def is_worth_another(self) -> bool:
        """Whether the same question may be answered later; 202 says that the source is still working on it."""
        return (
            bool(self.trouble)
            or self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.ACCEPTED}
            or (self.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
        )

    @property
    def is_refused(self) -> bool:
        """Whether it is about who asks."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

    def words(self, tokens: Sequence[SecretStr]) -> str:
        """What happened, in one line and without the tokens, which a source may repeat in its answer."""
        body, place = self.body, self.headers.get("Location", "")
        for token in tokens:  # before anything is shortened, or half a token would be left
            secret = token.get_secret_value()
            body, place = body.replace(secret.encode(), HIDDEN.encode()), place.replace(secret, HIDDEN)
        if self.status is None:
            return self.trouble
        if self.status == HTTPStatus.OK:
            return f"{self.trouble}: {message_of(body)}"
        return f"{self.status} to {place}" if place else f"{self.status}: {message_of(body)}"


class Exchange:
    """Asks one source. Safe to use side by side; the rate budget orders what is sent."""

    def __init__(
        self, http: aiohttp.ClientSession, source: SocrataSource, budget: RateBudget, token: TokenSource, pacing: Pacing
    ) -> None:
        self._http = http
        self._source = source
        self._address = f"{source.domain}/resource/{source.dataset}.json"
        self._budget = budget
        self._token = token
        self._pacing = pacing
        self._turns = 0
        """Requests that may be sent without asking the budget again."""

    async def ask(self, params: Params, read: Callable[[bytes], T]) -> T:
        """The answer as ``read`` understands it; what ``read`` finds broken is asked for again.

        Raises:
            PermanentError: the source refuses the request; the text has its words and the query.
            TemporaryError: no whole answer in all attempts, or the source asks for a longer pause than we hold for.
        """
        what = f"GET {self._address} " + " ".join(f"{name}={value}" for name, value in params.items())
        token = await self._token()
        sent = [] if token is None else [token]
        may_refresh, failures = bool(sent), 0
        while True:
            answer = await self._send(params, token)
            if answer.status == HTTPStatus.OK:
                try:
                    return read(answer.body)
                except BrokenAnswerError:
                    answer = replace(answer, trouble="the answer is not a whole array of rows")
            elif answer.is_refused and may_refresh:
                may_refresh, refused = False, token
                token = await self._token(fresh=True)
                if token is not None and token != refused:
                    sent.append(token)
                    continue
            text = " ".join(f"{what}: {answer.words(sent)}".split())
            if not answer.is_worth_another:
                raise PermanentError(text)
            failures += 1
            await self._hold(text, answer, failures)

    async def _hold(self, text: str, answer: _Answer, failures: int) -> None:
        """Wait before the next attempt.

        Raises:
            TemporaryError: there is none, or not within the time that a caller is held for.
        """
        policy = self._pacing.policy
        asked = retry_after(answer.headers, self._pacing.clock.now())
        delay = policy.delay(failures, asked, self._pacing.dice())
        if asked:
            self._turns = 0
            await self._budget.pause(self._source.domain, min(asked, MAX_SNOOZE_S))
        if failures >= policy.attempts:
            raise TemporaryError(f"{text} (attempt {failures} of {policy.attempts})", delay=delay)
        if delay > policy.cap_s:
            raise TemporaryError(f"{text} (the source asks for a pause of {delay:g} s)", delay=delay)
        log.warning("asking the source again", dataset=self._source.dataset, attempt=failures, wait_s=delay, why=text)
        await self._pacing.sleep(delay)

    async def _send(self, params: Params, token: SecretStr | None) -> _Answer:
        await self._wait_for_turn()
        url = URL(f"{self._address}?{urlencode(params, quote_via=quote, safe='$')}", encoded=True)
        headers = {} if token is None else {TOKEN_HEADER: token.get_secret_value()}
        try:
            # Redirects are not followed: they would carry the token to another host.
            async with self._http.get(url, headers=headers, allow_redirects=False) as response:
                return _Answer(response.status, response.headers, await _body(response))
        except (aiohttp.ClientError, OSError) as error:  # a wait that timed out is an OSError too
            # Not chained: a ClientResponseError carries the request's headers, and with them the token.
            return _Answer(None, {}, b"", f"{type(error).__name__}: {error}".rstrip(": "))

    async def _wait_for_turn(self) -> None:
        """Wait for a token of the rate budget.

        Raises:
            TemporaryError: the turn is so far away that the caller had better come back.
        """
        if self._turns > 0:
            self._turns -= 1
            return
        rate = self._source.requests_per_second
        # A tenth of a second's turns at once, so that a fast source is not held up by asking for each.
        turns = max(1, int(rate * SHARE_S))
        wait = await self._budget.take(self._source.domain, per_second=rate, burst=max(1, round(rate)), count=turns)
        if wait > self._pacing.policy.cap_s:
            delay = min(wait, MAX_SNOOZE_S)
            raise TemporaryError(f"{self._source.domain}: the next request is due in {wait:.0f} s", delay=delay)
        if wait > 0:
            await self._pacing.sleep(wait)
        self._turns += turns - 1


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body.

    Raises:
        PermanentError: it is larger than anything that was asked for.
    """
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise PermanentError(f"{response.host}: an answer is over {MAX_ANSWER_BYTES} bytes; lower batch_size")
    return b"".join(parts)
