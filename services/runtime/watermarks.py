"""Watermarks: how far a source is durably ingested. A frontier with a proof; it only moves forward."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Watermark:
    """The state of one watermark. ``cursor`` is the source's literal value, never rounded or converted."""

    name: str
    cursor: str | None
    version: int
    run_id: str
    updated_at: str
    complete_until: str | None = None
    """Up to here nothing can be published any more; where the next run starts to read. None: up to the cursor."""


class Watermarks(Protocol):
    """Reads and moves watermarks by conditional write on the previous version."""

    async def read(self, name: str) -> Watermark | None:
        """The watermark as last written (consistent read), or None if it was never written."""
        ...

    async def advance(
        self, name: str, cursor: str, *, expected_version: int, run_id: str, complete_until: str | None = None
    ) -> Watermark:
        """Move forward to ``cursor``. A first write expects version 0. An equal cursor is allowed.

        A write whose answer was lost is recognised by its stamp and counts as done.

        Raises:
            ConflictError: the version is not the expected one, or the cursor would go backwards
                (cursors of one watermark compare as text).
        """
        ...

    async def reset(self, name: str, cursor: str | None, *, expected_version: int, run_id: str) -> Watermark:
        """Set to any earlier value, or to None to start over: an operator's act, never a service's.

        Raises:
            ConflictError: the version is not the expected one.
        """
        ...

    async def list(self) -> list[Watermark]:
        """Every watermark, by name."""
        ...
