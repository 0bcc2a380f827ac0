"""A dataset that is read by query: counts for the planner, pages for the fetcher.

Cursors and keys are the source's literal text; the source alone compares them. Every method raises
PermanentError with the source's own message where it refuses the request (4xx other than 429), and TemporaryError where
it throttled, failed or broke off until the retries were used up.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from contracts.fetching import KeyRange


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows that share a value: a day (``2025-02-21T00:00:00.000``) or one cursor."""

    value: str
    rows: int


@dataclass(frozen=True, slots=True)
class Position:
    """The last row that was read: what the next page comes after."""

    cursor: str
    key: str


class Dataset(Protocol):
    """One pipeline's rows in its source: those that its ``where`` asks for, and no others."""

    async def newest(self) -> str | None:
        """The greatest cursor there is now; None in an empty dataset."""
        ...

    async def rows_by_day(self, within: KeyRange) -> list[Tally]:
        """Rows of each day that has any, in order."""
        ...

    async def rows_by_cursor(self, within: KeyRange) -> list[Tally]:
        """Rows of each cursor that has any, in order."""
        ...

    async def keys_at(self, cursor: str, every: int) -> list[str]:
        """Of the rows of one instant, in order of their keys, the key of each ``every``-th."""
        ...

    def page(self, within: KeyRange, after: Position | None, limit: int) -> AsyncIterator[bytes]:
        """At most ``limit`` rows after a position in order of (cursor, key), each one JSON object without newline.

        An answer that breaks off raises; what was yielded of it must then not be kept.
        """
        ...


class Datasets(Protocol):
    """Opens the dataset of a pipeline."""

    def of(self, pipeline: str) -> Dataset:
        """The dataset that a pipeline's declaration describes; KeyError if it is not collected from one."""
        ...
