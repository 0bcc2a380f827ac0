"""A dataset in memory, into which tests publish rows at any time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from contracts.fetching import KeyRange
from contracts.sources import SocrataSource
from services.runtime.datasets import Block, Position, Tally
from services.runtime.failures import PermanentError, TemporaryError, UnreachableError
from tests.fakes.effects import Effects

T = TypeVar("T")
Row = dict[str, Any]
Wanted = Callable[[Mapping[str, Any]], bool]


def everything(row: Mapping[str, Any]) -> bool:
    """The condition of a source that declares none."""
    del row
    return True


class FakeDataset:
    """``Dataset`` over ``rows``, which tests fill and change; ``wanted`` is what the declared ``where`` says.

    As in the source, cursors compare as floating timestamps, keys as text, and a row without a cursor is in no range.
    ``cap`` is the most rows of one page, whatever is asked for. What the network loses is a TemporaryError.
    """

    def __init__(
        self,
        source: SocrataSource,
        rows: list[Row] | None = None,
        *,
        wanted: Wanted = everything,
        effects: Effects | None = None,
        cap: int | None = None,
    ) -> None:
        self.rows = [] if rows is None else rows
        self.source = source
        self.effects = effects or Effects()
        self.cap = cap
        self._wanted = wanted

    def seen_by(self, effects: Effects) -> "FakeDataset":
        """The same rows as another process reaches them."""
        return FakeDataset(self.source, self.rows, wanted=self._wanted, effects=effects, cap=self.cap)

    def publish(self, *rows: Row) -> None:
        """Let rows appear; one whose key is there already takes the old one's place."""
        places = {old[self.source.unique_key]: place for place, old in enumerate(self.rows)}
        for row in rows:
            place = places.setdefault(row[self.source.unique_key], len(self.rows))
            self.rows[place : place + 1] = [row]

    def withdraw(self, *keys: str) -> None:
        """Let rows disappear."""
        self.rows[:] = [row for row in self.rows if row[self.source.unique_key] not in keys]

    async def newest(self) -> str | None:
        """See the port."""
        return await self._perform(
            "newest", lambda: max((cursor for cursor, _ in map(self._at, self._all())), key=_moment, default=None)
        )

    async def rows_by_day(self, within: KeyRange) -> list[Tally]:
        """See the port."""
        return await self._perform(
            "days", lambda: self._tallies([f"{cursor[:10]}T00:00:00.000" for cursor in self._cursors(within)])
        )

    async def rows_by_cursor(self, within: KeyRange) -> list[Tally]:
        """See the port."""
        return await self._perform("cursors", lambda: self._tallies(self._cursors(within)))

    async def keys_at(self, cursor: str, every: int) -> list[str]:
        """See the port."""
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        instant = KeyRange(start=cursor, to=cursor)
        return await self._perform(
            "keys", lambda: [self._at(row)[1] for row in self._within(instant)][every - 1 :: every]
        )

    async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
        """See the port."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")

        def read() -> Block:
            rows = [row for row in self._within(within) if after is None or self._order(row) > _order(after)]
            rows = rows[: limit if self.cap is None else min(limit, self.cap)]
            lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows]
            return Block("".join(lines).encode(), len(rows))

        return await self._perform("page", read)

    def _all(self) -> list[Row]:
        wanted = [row for row in self.rows if self.source.cursor in row and self._wanted(row)]
        return sorted(wanted, key=self._order)

    def _within(self, within: KeyRange) -> list[Row]:
        return [row for row in self._all() if _contains(within, *self._at(row))]

    def _cursors(self, within: KeyRange) -> list[str]:
        return [self._at(row)[0] for row in self._within(within)]

    def _tallies(self, values: list[str]) -> list[Tally]:
        return [Tally(value, rows) for value, rows in Counter(values).items()]

    def _at(self, row: Row) -> tuple[str, str]:
        return row[self.source.cursor], row[self.source.unique_key]

    def _order(self, row: Row) -> tuple[datetime, str]:
        return _order(Position(*self._at(row)))

    async def _perform(self, what: str, read: Callable[[], T]) -> T:
        try:
            return await self.effects.perform(f"{what} {self.source.dataset}", read)
        except UnreachableError as error:
            raise TemporaryError(str(error)) from error


class FakeDatasets:
    """``Datasets`` by pipeline."""

    def __init__(self, datasets: Mapping[str, FakeDataset]) -> None:
        self.datasets = dict(datasets)

    def seen_by(self, effects: Effects) -> "FakeDatasets":
        """The same datasets as another process reaches them."""
        return FakeDatasets({name: dataset.seen_by(effects) for name, dataset in self.datasets.items()})

    def of(self, pipeline: str) -> FakeDataset:
        """See the port."""
        return self.datasets[pipeline]


@cache
def _moment(cursor: str) -> datetime:
    try:
        return datetime.fromisoformat(cursor)
    except ValueError as error:
        raise PermanentError(f"{cursor!r} is not a floating timestamp") from error


def _order(position: Position) -> tuple[datetime, str]:
    return _moment(position.cursor), position.key


def _contains(within: KeyRange, cursor: str, key: str) -> bool:
    at = _moment(cursor)
    return (
        at >= _moment(within.start)
        and (within.before is None or at < _moment(within.before))
        and (within.to is None or at <= _moment(within.to))
        and (within.after_key is None or key > within.after_key)
        and (within.to_key is None or key <= within.to_key)
    )
