"""A dataset that is read by query: counts for the planner, pages for the fetcher.

Cursors and keys are the source's literal text; the source alone compares them. Every method raises
PermanentError with the source's own message where it refuses the request (4xx other than 429), and TemporaryError where
it throttled, failed or broke off until the retries were used up.
"""

import json
from dataclasses import dataclass
from typing import Protocol

from contracts.fetching import KeyRange
from contracts.sources import SocrataSource
from services.runtime.failures import PermanentError


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


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows as NDJSON: each one JSON object and a newline, so that blocks are joined by concatenation."""

    lines: bytes
    rows: int

    @property
    def last_line(self) -> bytes:
        """The last row, without its newline; empty where there are no rows."""
        return self.lines[self.lines.rfind(b"\n", 0, -1) + 1 : -1]


def position_of(line: bytes, source: SocrataSource) -> Position:
    """Where a row stands in the order of its source.

    Raises:
        PermanentError: the line is not an object, or its cursor or its key is not there or not text.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"{source.dataset}: a row is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise PermanentError(f"{source.dataset}: a row is not a JSON object")
    for name in (source.cursor, source.unique_key):
        if not isinstance(row.get(name), str):
            raise PermanentError(f"{source.dataset}: a row has no {name!r}, so no page can come after it")
    return Position(row[source.cursor], row[source.unique_key])


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
        """Of the rows of one instant, in order of their keys, the key of each ``every``-th; no key comes twice."""
        ...

    async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
        """At most ``limit`` rows after a position in order of (cursor, key): a complete answer or an exception.

        A source may cap its answers, so fewer rows than ``limit`` do not end a range; only a block without rows does.
        """
        ...


class Datasets(Protocol):
    """Opens the dataset of a pipeline."""

    def of(self, pipeline: str) -> Dataset:
        """The dataset that a pipeline's declaration describes; KeyError if it is not collected from one."""
        ...
