"""Judging the rows of a block: the fast path for what it can prove, the reference for everything else."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from contracts.pipelines import Column, Pipeline
from services.validator.core.columns import schema_of
from services.validator.core.declared.certify import SMALLEST_MOULD, SMALLEST_PASS, Certifier
from services.validator.core.declared.lines import judge_line


class BadLine(NamedTuple):
    """Why a line is not a row.

    Attributes:
        position: of the line in its block, from 0.
        reason: ``malformed-json``, ``invalid-value`` or ``missing-required``.
        errors: what is wrong (type, loc, msg, input); JSON can carry them.
    """

    position: int
    reason: str
    errors: list[dict[str, Any]]


class Nulled(NamedTuple):
    """A bad value that became null: the position of its line in its block, and its column."""

    position: int
    column: str


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """The judgement of some lines; every position is in exactly one of ``indexes`` and ``bad``.

    Attributes:
        frame: the rows.
        indexes: position of each row's line, ascending (UInt32).
        bad: the other lines, ascending.
        nulled: what the rows lost, ascending.
        unknown: members of any line that no column is declared for.
    """

    frame: pl.DataFrame
    indexes: pl.Series
    bad: list[BadLine]
    nulled: list[Nulled]
    unknown: set[str]


class RowJudge:
    """Judges lines by the columns that a pipeline declares. It learns what lines look like: one thread at a time.

    Args:
        columns: the declared columns.
        smallest_pass: lines below which the reference alone is quicker; changes the speed, never the verdict.
        smallest_mould: lines of one kind below which it is quicker for them; likewise.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        smallest_pass: int = SMALLEST_PASS,
        smallest_mould: int = SMALLEST_MOULD,
    ) -> None:
        self._columns = columns
        self._certifier = Certifier(columns, smallest_pass=smallest_pass, smallest_mould=smallest_mould)

    def judge(self, lines: Sequence[bytes]) -> JudgedBlock:
        """Judge each line of a block as the reference would."""
        frame, indexes, left, unknown = self._certifier.certify(lines)
        if not len(left):
            return JudgedBlock(frame, indexes, [], [], unknown)
        rest = judge_by_line(lines, left.to_list(), self._columns)
        if len(rest.indexes):
            frame = pl.concat([frame, rest.frame])
            indexes = pl.concat([indexes, rest.indexes])
            order = indexes.arg_sort()
            frame, indexes = frame[order], indexes.gather(order)
        return JudgedBlock(frame, indexes, rest.bad, rest.nulled, unknown | rest.unknown)


def judge_by_line(lines: Sequence[bytes], positions: Sequence[int], columns: Mapping[str, Column]) -> JudgedBlock:
    """The reference, for the lines at these positions."""
    judged = [(position, judge_line(lines[position], columns)) for position in positions]
    good = [(position, line.row) for position, line in judged if line.row is not None]
    schema = schema_of({name: column.type for name, column in columns.items()})
    series = [pl.Series(name, [row[name] for _, row in good], dtype=dtype) for name, dtype in schema.items()]
    return JudgedBlock(
        frame=pl.DataFrame(series),
        indexes=pl.Series([position for position, _ in good], dtype=pl.UInt32),
        bad=[BadLine(position, line.reason, line.errors) for position, line in judged if line.row is None],
        nulled=[Nulled(position, column) for position, line in judged for column in line.nulled],
        unknown=set().union(*(line.unknown for _, line in judged)),
    )


class Judges:
    """Row judges of each pipeline, kept because what one has learnt saves the next segment the trouble."""

    def __init__(self) -> None:
        self._idle: dict[str, list[RowJudge]] = {}

    @contextmanager
    def lend(self, pipeline: Pipeline) -> Iterator[RowJudge]:
        """A judge that nobody else has meanwhile. Only the event loop's thread may ask.

        After an error it is not used again: its thread may still be at work.
        """
        idle = self._idle.setdefault(pipeline.name, [])
        judge = idle.pop() if idle else RowJudge(pipeline.columns)
        yield judge
        idle.append(judge)
