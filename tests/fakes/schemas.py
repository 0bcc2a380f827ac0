"""Observed columns and versions of entities' fields, in memory."""

from collections.abc import Collection

from contracts.fields import EntityField
from services.runtime.clock import Clock
from services.runtime.failures import ConflictError
from services.runtime.schemas import RecordedSchema, SeenColumn
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


class FakeEntitySchemas:
    """``EntitySchemas`` that keeps every version by (entity, number)."""

    def __init__(self, clock: Clock | None = None, *, effects: Effects | None = None) -> None:
        self.versions: dict[tuple[str, int], RecordedSchema] = {}
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects) -> "FakeEntitySchemas":
        """The same versions as another process reaches them."""
        other = FakeEntitySchemas(self._clock, effects=effects)
        other.versions = self.versions
        return other

    async def latest(self, entity: str) -> RecordedSchema | None:
        """See the port."""
        versions = await self.history(entity)
        return versions[-1] if versions else None

    async def record(
        self, entity: str, fields: Collection[EntityField], *, version: int, run_id: str
    ) -> RecordedSchema:
        """See the port."""
        mine = RecordedSchema(version, tuple(fields), run_id, self._clock.now().isoformat())

        def write() -> RecordedSchema:
            there = self.versions.setdefault((entity, version), mine)
            if (there.run_id, there.fields) != (run_id, mine.fields):
                raise ConflictError(f"{entity} has a version {version} of run {there.run_id}")
            return there

        return await self.effects.perform(f"record schema {entity} {version}", write)

    async def history(self, entity: str) -> list[RecordedSchema]:
        """See the port."""
        return [found for (of, _), found in sorted(self.versions.items()) if of == entity]
