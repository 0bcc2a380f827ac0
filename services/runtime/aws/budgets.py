"""Rate budgets in DynamoDB: one item each, moved by single conditional updates.

The item holds the *next slot*: the earliest moment at which the next request may be sent. A bucket that was left alone
is full, so a slot never lies further back than ``burst - 1`` intervals; taking a token takes the slot and moves it one
interval on. Both ways of moving it are one conditional update each, so that however many processes take at once, each
has a slot of its own and none needs a second try for having met another.

Slots are moments of the takers' own wall clocks. Where those differ by some seconds, who is behind waits so much
longer; over any longer time the rate holds all the same, because no slot is given out twice.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.runtime.aws import tables
from services.runtime.aws.errors import translated
from services.runtime.aws.items import from_item
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, TemporaryError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

US_PER_S = 1_000_000

IN_USE = "#next_us > :full_us"
LEFT_ALONE = "attribute_not_exists(#next_us) OR #next_us <= :full_us"
EARLIER = "attribute_not_exists(#next_us) OR #next_us < :until_us"

ROUNDS = 3
"""Between two updates of one call a bucket can fill up or be used; that it does both again and again is a fault."""


class DynamoRateBudget:
    """``RateBudget`` over one table."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    async def take(self, name: str, *, per_second: float, burst: int, count: int = 1) -> float:
        """Take the tokens of so many requests; the seconds to wait before sending the first one.

        Raises:
            ValueError: the rate is not positive, the burst is below 1, or the count is not within the burst.
            TemporaryError, UnreachableError: whether a token was taken is unknown; taking another is safe.
        """
        if per_second <= 0 or not 1 <= count <= burst:
            raise ValueError(f"budget {name}: {count} of {per_second} requests a second in bursts of {burst}")
        interval = math.ceil(US_PER_S / per_second)
        for _ in range(ROUNDS):
            now = self._now()
            full = now - (burst - 1) * interval
            moved = await self._update(
                name, adds={"next_us": count * interval}, condition=IN_USE, values={"full_us": full}
            )
            if moved is None:
                fresh = {"next_us": full + count * interval}
                moved = await self._update(name, sets=fresh, condition=LEFT_ALONE, values={"full_us": full})
            if moved is not None:
                return max(0, moved - count * interval - now) / US_PER_S
        raise TemporaryError(f"{self._table}: budget {name} changed under every one of {ROUNDS} tries", delay=1.0)

    async def pause(self, name: str, seconds: float) -> None:
        """Put the next slot off; a shorter pause never ends a longer one.

        Raises:
            TemporaryError, UnreachableError: whether it was put off is unknown; pausing again is safe.
        """
        until = self._now() + math.ceil(seconds * US_PER_S)
        await self._update(name, sets={"next_us": until}, condition=EARLIER, values={"until_us": until})

    async def _update(self, name: str, **clauses: Any) -> int | None:
        """The next slot after a conditional update; None if the condition does not hold."""
        try:
            with translated(f"UpdateItem {self._table} {name}"):
                answer = await self._client.update_item(
                    **tables.update(self._table, {"budget": name}, **clauses), ReturnValues="UPDATED_NEW"
                )
        except ConflictError:
            return None
        return _next_slot(answer)

    def _now(self) -> int:
        return round(self._clock.now().timestamp() * US_PER_S)


def _next_slot(answer: Mapping[str, Any]) -> int:
    slot: int = from_item(answer["Attributes"])["next_us"]
    return slot
