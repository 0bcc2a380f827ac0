"""Which columns a source has been seen with, beyond what its pipeline declares: drift, reported once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


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
