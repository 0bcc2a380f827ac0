"""Rate budgets in memory."""

from dataclasses import dataclass, field

from services.runtime.clock import Clock
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects


@dataclass
class FakeBucket:
    """Tokens as they were at some moment (seconds of wall time); negative: that many were taken ahead of time."""

    tokens: float
    as_of: float


@dataclass
class FakeBudgetTable:
    """What all processes share: the buckets, what was asked of them, and what was answered."""

    buckets: dict[str, FakeBucket] = field(default_factory=dict)
    paused_until: dict[str, float] = field(default_factory=dict)
    taken: list[tuple[str, float]] = field(default_factory=list)
    """Every token in order, as (name, seconds to wait)."""
    pauses: list[tuple[str, float]] = field(default_factory=list)
    """Every pause in order, as (name, seconds)."""


class FakeRateBudget:
    """``RateBudget`` over a table in memory."""

    def __init__(
        self, clock: Clock | None = None, *, effects: Effects | None = None, table: FakeBudgetTable | None = None
    ) -> None:
        self.table = table or FakeBudgetTable()
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects, clock: Clock | None = None) -> "FakeRateBudget":
        """The same buckets as another process, perhaps with another clock, reaches them."""
        return FakeRateBudget(clock or self._clock, effects=effects, table=self.table)

    async def take(self, name: str, *, per_second: float, burst: int, count: int = 1) -> float:
        """See the port."""
        if per_second <= 0 or not 1 <= count <= burst:
            raise ValueError(f"budget {name}: {count} of {per_second} requests a second in bursts of {burst}")

        def take() -> float:
            now = self._clock.now().timestamp()
            bucket = self.table.buckets.get(name, FakeBucket(burst, now))
            tokens = min(burst, bucket.tokens + (now - bucket.as_of) * per_second)
            pause = self.table.paused_until.get(name)
            if pause is not None:  # the first token after a pause is ready when it ends, and no other before
                tokens = min(tokens, 1 - (pause - now) * per_second)
            self.table.buckets[name] = FakeBucket(tokens - count, now)
            self.table.paused_until.pop(name, None)
            wait = max(0.0, (1 - tokens) / per_second)
            self.table.taken.append((name, wait))
            return wait

        return await self.effects.perform(f"take {name}", take)

    async def pause(self, name: str, seconds: float) -> None:
        """See the port."""

        def pause() -> None:
            until = self._clock.now().timestamp() + seconds
            self.table.paused_until[name] = max(until, self.table.paused_until.get(name, until))
            self.table.pauses.append((name, seconds))

        await self.effects.perform(f"pause {name}", pause)
