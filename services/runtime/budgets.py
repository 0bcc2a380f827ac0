"""A rate budget that every fetcher shares, so that more of them do not mean more requests than the source allows."""

from typing import Protocol


class RateBudget(Protocol):
    """A token bucket per name, kept where all processes see it. Safe to repeat: a lost answer only wastes a token."""

    async def take(self, name: str, *, per_second: float, burst: int, count: int = 1) -> float:
        """Take the tokens of so many requests; the seconds to wait before sending the first one (0.0: send it now).

        Tokens may be taken ahead of time: who waits as told keeps all processes together within ``per_second``.
        """
        ...

    async def pause(self, name: str, seconds: float) -> None:
        """The source asked for a pause: nobody's next request is sent earlier than this from now."""
        ...
