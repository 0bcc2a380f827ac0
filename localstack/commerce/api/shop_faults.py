"""What goes wrong on purpose, and how the API takes its parameters."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, PrivateAttr


class Behaviour(BaseModel):
    """What kind of an API it is."""

    model_config = ConfigDict(extra="forbid")

    since: Literal["honoured", "exclusive", "ignored", "refused"] = "honoured"
    refusal: int = Field(default=400, ge=400, le=499, description="how ``since`` is refused")
    cap: PositiveInt = Field(default=5_000, description="most records of a page, whatever is asked for")
    latency_ms: NonNegativeFloat = Field(default=0, description="before every answer")
    array: bool = Field(default=False, description="answer with the records alone, in no object")
    layout: Literal["lines", "pretty"] = "lines"


class Rule(BaseModel):
    """One kind of trouble and which requests it happens to.

    Of the requests that match (``entity``; ``contains``: a part of the decoded query string), the first ``skip`` go
    unharmed, then each ``every``-th has it, at most ``times`` times in all.
    """

    model_config = ConfigDict(extra="forbid")

    status: int | None = Field(default=None, ge=200, le=599, description="answer with this status and no records")
    retry_after: str | None = Field(default=None, description="its header; seconds or an HTTP date, sent as given")
    location: str | None = Field(default=None, description="its header")
    message: str = "injected fault"
    body: str | None = Field(default=None, description="in place of the JSON document")
    repeats_key: bool = Field(default=False, description="the message repeats the key that the client sent")
    delay_ms: NonNegativeFloat = Field(default=0, description="before the answer")
    cut_after: NonNegativeInt | None = Field(default=None, description="close the connection after so many bytes")
    says_length: bool = Field(default=True, description="of an answer that is cut: whether its length was said")

    entity: str | None = None
    contains: str | None = None
    skip: NonNegativeInt = 0
    every: PositiveInt = 1
    times: PositiveInt | None = None

    _seen: int = PrivateAttr(default=0)
    _fired: int = PrivateAttr(default=0)

    @property
    def fired(self) -> int:
        """How many requests it has happened to."""
        return self._fired

    def strikes(self, entity: str, query: str) -> bool:
        """Whether it happens to this request; each request is asked about once."""
        if self.entity not in {None, entity} or (self.contains is not None and self.contains not in query):
            return False
        self._seen += 1
        turn = self._seen - self.skip
        if turn < 1 or (turn - 1) % self.every or (self.times is not None and self._fired >= self.times):
            return False
        self._fired += 1
        return True


def strike(rules: Sequence[Rule], entity: str, query: str) -> Rule:
    """The first rule that strikes; one without trouble if none does."""
    return next((rule for rule in rules if rule.strikes(entity, query)), Rule())
