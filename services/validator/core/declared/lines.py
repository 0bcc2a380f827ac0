"""Judging one line: the reference that says what every row means, one plain step after the other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from contracts.pipelines import Column
from services.validator.core.declared.values import BadValueError, Number, read, shown

MALFORMED = "malformed-json"
INVALID = "invalid-value"
MISSING = "missing-required"


@dataclass(frozen=True, slots=True)
class JudgedLine:
    """One line: a row, or why it is none.

    Attributes:
        row: value of every declared column, None for a line that goes into quarantine.
        nulled: columns of the row whose value was bad and became null.
        reason: why there is no row, one of the names above.
        errors: what is wrong, each with type, loc, msg and input; JSON can carry them.
        unknown: members that no column is declared for, also those of a bad row.
    """

    row: Mapping[str, Any] | None = None
    nulled: tuple[str, ...] = ()
    reason: str = ""
    errors: list[dict[str, Any]] = field(default_factory=list)
    unknown: frozenset[str] = frozenset()


def judge_line(line: bytes, columns: Mapping[str, Column]) -> JudgedLine:
    """Judge one line, without its newline. Of a member that is written twice, the last one counts."""
    try:
        document = parse(line)
    except (ValueError, RecursionError) as error:
        text = line.decode("utf-8", "backslashreplace")
        return JudgedLine(reason=MALFORMED, errors=[_error("json_invalid", [], str(error), text)])
    unknown = frozenset(document.keys() - columns.keys())
    row: dict[str, Any] = {}
    nulled: list[str] = []
    errors: list[dict[str, Any]] = []
    reasons: list[str] = []
    for name, column in columns.items():
        value = document.get(name)
        row[name] = None
        if value is not None:
            try:
                row[name] = read(column.type, value)
            except BadValueError as error:
                if column.on_error == "null" and not column.required:
                    nulled.append(name)
                else:
                    reasons.append(INVALID)
                    errors.append(_error(column.type, [name], str(error), value))
                continue
        if column.required and row[name] is None:
            reasons.append(MISSING)
            errors.append(_error("missing", [name], "is required", value))
    if errors:
        return JudgedLine(reason=reasons[0], errors=errors, unknown=unknown)
    return JudgedLine(row=row, nulled=tuple(nulled), unknown=unknown)


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object that a line is, numbers as they are written.

    Raises:
        ValueError: it is no JSON object, or holds half of a surrogate pair, which no file could keep.
        RecursionError: it is nested too deeply.
    """
    text = line.decode("utf-8")
    document = _DECODER.decode(text)
    if not isinstance(document, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - one kind of error for everything that is malformed
    if "\\u" in text:
        json.dumps(document, ensure_ascii=False).encode()
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_refuse)


def _error(kind: str, place: list[str], message: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": place, "msg": message, "input": None if value is None else shown(value)}
