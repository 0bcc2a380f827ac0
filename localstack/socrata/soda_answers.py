"""Rows of an answer in wire form: a JSON array with one row a line, everything text, missing values left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from soql_statements import Field, Statement

BETWEEN_ROWS = "\n,"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows, each one JSON object, and the fields that they may have."""

    rows: Sequence[str]
    fields: Sequence[Field]

    def body(self, *, one_line: bool = False) -> bytes:
        """The array as the service writes it; ``one_line``: as other JSON writers do."""
        if not self.rows:
            return b"[]"
        if one_line:
            return f"[{','.join(self.rows)}]\n".encode()
        return f"[{BETWEEN_ROWS.join(self.rows)}\n]".encode()


def answer(statement: Statement, found: Sequence[tuple[Any, ...]], lines: Sequence[str]) -> Answer:
    """The answer that a statement's result means; ``lines`` are the dataset's rows by number."""
    if statement.whole_rows:
        return Answer([lines[number] for (number,) in found], statement.fields)
    writers = [(encode_basestring(field.name) + ":", _writer(field)) for field in statement.fields]
    rows = [
        "{" + ",".join([name + write(v) for (name, write), v in zip(writers, row, strict=True) if v is not None]) + "}"
        for row in found
    ]
    return Answer(rows, statement.fields)


def _number(value: float) -> str:
    # As PostgreSQL writes numbers: no exponent, and no fraction where there is none.
    text = format(Decimal(repr(value)), "f")
    return f'"{text.removesuffix(".0")}"'


def _timestamp(value: datetime) -> str:
    return f'"{value.isoformat(timespec="milliseconds")}"'


def _boolean(value: bool) -> str:  # noqa: FBT001 - a value, not an option
    return "true" if value else "false"


_WRITERS: Mapping[str, Callable[[Any], str]] = {
    "text": encode_basestring,
    "number": _number,
    "floating_timestamp": _timestamp,
    "boolean": _boolean,
    "point": str,
    "location": str,
}


def _writer(field: Field) -> Callable[[Any], str]:
    if field.literal and field.type in {"number", "floating_timestamp"}:
        return encode_basestring
    return _WRITERS.get(field.type, str)
