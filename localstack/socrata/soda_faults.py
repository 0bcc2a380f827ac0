"""What goes wrong on purpose: failing, slow, short and broken-off answers, and a limit on the rate of requests."""

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, PrivateAttr
from soda_errors import SodaError


class Rule(BaseModel):
    """One kind of trouble and which requests it happens to.

    Of the requests that match (``contains``: a part of the decoded query string; ``dataset``; ``token``), the first
    ``skip`` go unharmed, then each ``every``-th has it, at most ``times`` times in all.
    """

    model_config = ConfigDict(extra="forbid")

    status: int | None = Field(default=None, ge=400, le=599, description="answer with this error")
    retry_after: str | None = Field(default=None, description="of that error; seconds or an HTTP date, sent as given")
    message: str = "injected fault"
    body: str | None = Field(default=None, description="of that error, in place of the JSON document: a proxy's HTML")
    delay_ms: float = Field(default=0, ge=0, description="before the answer")
    cut_after: NonNegativeInt | None = Field(default=None, description="close the connection after this many bytes")
    cap: PositiveInt | None = Field(default=None, description="answer with at most this many rows, as if it were all")
    one_line: bool = Field(default=False, description="write the array without line breaks between its rows")

    contains: str | None = None
    dataset: str | None = None
    token: str | None = None
    skip: NonNegativeInt = 0
    every: PositiveInt = 1
    times: PositiveInt | None = None

    _seen: int = PrivateAttr(default=0)
    _fired: int = PrivateAttr(default=0)

    @property
    def fired(self) -> int:
        """How many requests it has happened to."""
        return self._fired

    def strikes(self, dataset: str, query: str, token: str | None) -> bool:
        """Whether it happens to this request; each request is asked about once."""
        if self.contains is not None and self.contains not in query:
            return False
        if self.dataset not in {None, dataset} or self.token not in {None, token}:
            return False
        self._seen += 1
        turn = self._seen - self.skip
        if turn < 1 or (turn - 1) % self.every or (self.times is not None and self._fired >= self.times):
            return False
        self._fired += 1
        return True

    def error(self) -> SodaError | None:
        """The error to answer with, if it is an error."""
        if self.status is None:
            return None
        codes: Mapping[int, str] = {401: "authentication_required", 403: "permission_denied", 429: "too_many_requests"}
        error = SodaError(self.status, codes.get(self.status, "internal_error"), self.message)
        error.retry_after, error.page = self.retry_after, self.body
        return error


class Faults:
    """Rules in order; the first one that strikes decides."""

    def __init__(self) -> None:
        self.rules: Sequence[Rule] = ()

    def strike(self, dataset: str, query: str, token: str | None) -> tuple[int | None, Rule]:
        """The rule that strikes this request and its place in the list; a rule without trouble if none does.

        A request that a rule has struck does not count for the rules after it.
        """
        for place, rule in enumerate(self.rules):
            if rule.strikes(dataset, query, token):
                return place, rule
        return None, Rule()


class Limit(BaseModel):
    """How many requests a token may send; those without a token share one account."""

    model_config = ConfigDict(extra="forbid")

    requests_per_second: PositiveFloat | None = Field(default=None, description="None: no limit")
    burst: PositiveInt = 1


class Throttle:
    """A token bucket per account."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._accounts: dict[str | None, tuple[float, float]] = {}

    def wait_s(self, token: str | None, now: float) -> int:
        """Whole seconds to wait before the next request, at monotonic time ``now``; 0 lets this one pass."""
        rate, burst = self._limit.requests_per_second, float(self._limit.burst)
        if rate is None:
            return 0
        left, before = self._accounts.get(token, (burst, now))
        left = min(burst, left + (now - before) * rate)
        passes = left >= 1
        self._accounts[token] = (left - 1 if passes else left, now)
        return 0 if passes else math.ceil((1 - left) / rate)
