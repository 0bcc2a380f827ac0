"""Judging the records of an API, line by line, by the fields that their entity declares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contracts.fields import EntityField
from contracts.segments import Occurrence
from services.validator.core.declared.lines import INVALID, MALFORMED, MISSING, parse
from services.validator.core.declared.values import BadValueError, shown
from services.validator.core.fetched import row_id
from services.validator.core.landed.types import schema_of
from services.validator.core.landed.values import reader_of
from services.validator.core.segments import BadRow, QuarantineEntry


@dataclass(slots=True)
class JudgedRecords:
    """What came of all lines of a raw object.

    Attributes:
        rows: those that can be landed, in the order of their lines.
        received: lines.
        bad: the others.
        unknown: members that no field is declared for, in any line.
    """

    rows: pl.DataFrame
    received: int = 0
    bad: list[QuarantineEntry] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def reason(self, pipeline: str) -> str:
        """Why the entity cannot be landed, in one line; only where something is bad."""
        first = self.bad[0]
        line = 0 if first.row is None else first.row.line
        error = first.errors[0]
        place = ".".join(map(str, error["loc"]))
        said = f"{place}: {error['msg']}" if place else f"{first.reason}: {error['msg']}"
        return (
            f"{len(self.bad)} of {self.received} records cannot be landed; first: line {line}: {said};"
            f" tidegate quarantine list {pipeline} shows them"
        )


class RecordJudge:
    """Judges lines by fields.

    Args:
        pipeline: its name, for the identity of bad lines.
        fields: what becomes a column.
        declared: every member that is no news, columns or not.
        required: fields that must not be null.
    """

    def __init__(
        self, pipeline: str, fields: Sequence[EntityField], *, declared: Iterable[str], required: Iterable[str]
    ) -> None:
        self._pipeline = pipeline
        self._schema = schema_of(fields)
        self._readers = [(each.name, each.type, reader_of(each.type)) for each in fields]
        self._declared = frozenset(declared)
        self._required = frozenset(required)

    def judge(self, occurrence: Occurrence, blocks: Iterable[Sequence[bytes]]) -> JudgedRecords:
        """Judge the lines of an object, block by block."""
        judged = JudgedRecords(pl.DataFrame(schema=self._schema))
        frames = [judged.rows]
        for lines in blocks:
            rows: list[list[Any]] = []
            for line in lines:
                judged.received += 1
                self._judge(line, occurrence, rows, judged)
            frames.append(self._frame(rows))
        judged.rows = pl.concat(frames, rechunk=True)
        return judged

    def _judge(self, line: bytes, occurrence: Occurrence, rows: list[list[Any]], judged: JudgedRecords) -> None:
        try:
            document = parse(line)
        except (ValueError, RecursionError) as error:
            text = line.decode("utf-8", "backslashreplace")
            self._refuse(line, occurrence, MALFORMED, [_error("json_invalid", [], str(error), text)], judged)
            return
        if not document.keys() <= self._declared:
            judged.unknown |= document.keys() - self._declared
        row: list[Any] = []
        errors: list[dict[str, Any]] = []
        for name, type_, read in self._readers:
            value = document.get(name)
            if value is None:
                row.append(None)
                if name in self._required:
                    errors.append(_error("missing", [name], "is required", None))
                continue
            try:
                row.append(read(value))
            except BadValueError as error:
                errors.append(_error(type_, [name], str(error), value))
        if errors:
            reason = MISSING if errors[0]["type"] == "missing" else INVALID
            self._refuse(line, occurrence, reason, errors, judged)
        else:
            rows.append(row)

    def _refuse(
        self, line: bytes, occurrence: Occurrence, reason: str, errors: list[dict[str, Any]], judged: JudgedRecords
    ) -> None:
        text = line.decode("utf-8", "backslashreplace")
        row = BadRow(row_id(self._pipeline, line), judged.received, text)
        judged.bad.append(QuarantineEntry(occurrence, reason, errors, row))

    def _frame(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        columns = list(zip(*rows, strict=True)) or [()] * len(self._schema)
        return pl.DataFrame(
            [
                pl.Series(name, values, dtype=dtype, strict=True)
                for (name, dtype), values in zip(self._schema.items(), columns, strict=True)
            ]
        )


def _error(kind: str, place: list[str], message: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": message, "input": None if value is None else shown(value)}
