"""Entities in memory: rows that tests write, with a ceiling and troubles of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.pipelines import Pipeline
from services.planner.ports import Cut
from services.runtime.failures import BadDeclarationError
from tests.fakes.effects import Effects


@dataclass
class FakeTable:
    """What one entity holds: rows as (cursor or None, key)."""

    fields: list[EntityField]
    rows: list[tuple[str | None, str]] = field(default_factory=list)
    behind: timedelta = timedelta(0)
    """How far its ceiling is below the planner's clock."""
    slice_rows: int = 10
    trouble: dict[str, Exception] = field(default_factory=dict)
    """What each of ``describe``, ``ceiling`` and ``cut`` raises, as long as it is here."""
    asked: list[str] = field(default_factory=list)


class FakeEntity:
    """``Entity`` over a table in memory; keys are compared as text."""

    def __init__(self, table: FakeTable, effects: Effects) -> None:
        self._table = table
        self._effects = effects

    async def describe(self) -> list[EntityField]:
        """See the port."""
        self._ask("describe")
        return list(self._table.fields)

    async def ceiling(self, now: datetime) -> datetime:
        """See the port."""
        self._ask("ceiling")
        return now - self._table.behind

    async def cut(self, start: str, end: str, fields: Sequence[EntityField], *, whole: bool) -> list[Cut]:
        """See the port."""
        self._ask("cut")
        assert fields, "a load that reads no fields"
        window = Slice(start=start, end=end, undated=whole)
        found = sorted(key for cursor, key in self._table.rows if (whole if cursor is None else start <= cursor < end))
        if not found:
            return []
        size = self._table.slice_rows
        borders: list[list[str] | None] = [None, *([key] for key in found[size - 1 : -1 : size]), None]
        left = [min(size, len(found) - at) for at in range(0, len(found), size)]
        return [
            Cut(window.model_copy(update={"after": after, "upto": upto}), rows)
            for (after, upto), rows in zip(pairwise(borders), left, strict=True)
        ]

    def _ask(self, question: str) -> None:
        self._effects.reach(f"ask {question}")
        self._table.asked.append(question)
        if question in self._table.trouble:
            raise self._table.trouble[question]


class FakeEntities:
    """``Entities`` over tables by the name of the pipeline."""

    def __init__(self, tables: dict[str, FakeTable], *, effects: Effects | None = None) -> None:
        self.tables = tables
        self.effects = effects or Effects()

    def seen_by(self, effects: Effects) -> "FakeEntities":
        """The same tables as another process reaches them."""
        return FakeEntities(self.tables, effects=effects)

    def of(self, pipeline: Pipeline) -> FakeEntity:
        """See the port."""
        if pipeline.name not in self.tables:
            raise BadDeclarationError("source.secret needs SOME_VARIABLE, which is not set")
        return FakeEntity(self.tables[pipeline.name], self.effects)
