"""Which columns a source has been seen with, beyond what its pipeline declares: drift, reported once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from contracts.fields import EntityField


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """An undeclared column and the run that met it first."""

    column: str
    run_id: str
    seen_at: str


class ObservedSchemas(Protocol):
    """Undeclared columns by entity (a pipeline's watermark name)."""

    async def observe(self, entity: str, columns: Collection[str], *, run_id: str) -> list[str]:
        """Remember columns; those that nobody had seen before this run, sorted.

        Repeating the call in the same run gives the same answer, so that a report that was cut off is made again.
        """
        ...

    async def list(self, entity: str) -> list[SeenColumn]:
        """Every undeclared column seen so far, by name."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedSchema:
    """An entity's fields as of one of its loads; versions count from 1."""

    version: int
    fields: tuple[EntityField, ...]
    run_id: str
    recorded_at: str


class EntitySchemas(Protocol):
    """What each entity's columns were, version by version."""

    async def latest(self, entity: str) -> RecordedSchema | None:
        """The newest version (consistent read), or None if there is none."""
        ...

    async def record(
        self, entity: str, fields: Collection[EntityField], *, version: int, run_id: str
    ) -> RecordedSchema:
        """Create this version, which follows the newest; the same run may repeat it.

        Raises:
            ConflictError: there is another of that number, which another run made.
        """
        ...

    async def history(self, entity: str) -> list[RecordedSchema]:
        """Every version, oldest first."""
        ...
