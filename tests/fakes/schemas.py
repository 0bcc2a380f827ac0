"""Observed columns in memory."""

from collections.abc import Collection

from services.runtime.clock import Clock
from services.runtime.schemas import SeenColumn
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects

READABLE = 1_000
"""Characters of a column's name that are shown."""


class FakeObservedSchemas:
    """``ObservedSchemas`` that keeps the first sighting of each column by (entity, column)."""

    def __init__(self, clock: Clock | None = None, *, effects: Effects | None = None) -> None:
        self.seen: dict[tuple[str, str], SeenColumn] = {}
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects, clock: Clock | None = None) -> "FakeObservedSchemas":
        """The same columns as another process, perhaps with another clock, reaches them."""
        other = FakeObservedSchemas(clock or self._clock, effects=effects)
        other.seen = self.seen
        return other

    async def observe(self, entity: str, columns: Collection[str], *, run_id: str) -> list[str]:
        """See the port; each column that is not known yet is an effect of its own."""

        async def enter(column: str) -> None:
            shown = column[:READABLE].encode(errors="backslashreplace").decode()
            sighting = SeenColumn(shown, run_id, self._clock.now().isoformat())
            await self.effects.perform(
                f"observe {entity} {shown}", lambda: self.seen.setdefault((entity, column), sighting)
            )

        for column in sorted(set(columns)):
            if (entity, column) not in self.seen:
                await enter(column)
        return sorted({column for column in columns if self.seen[entity, column].run_id == run_id})

    async def list(self, entity: str) -> list[SeenColumn]:
        """See the port."""
        found = [seen for (of, _), seen in self.seen.items() if of == entity]
        return sorted(found, key=lambda seen: seen.column)
