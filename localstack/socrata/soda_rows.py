"""Rows as they stand on the wire, and which types their columns have."""

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from soda_errors import bad_request
from soql_values import TYPES, read_timestamp

PUBLISHED = "published_at"
"""Key of a row that only the control plane knows: when the row appears, as a floating timestamp."""

_WIRE_TIMESTAMP = re.compile(r"\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}")
_SAMPLE = 5_000
"""Rows of a file that are looked at to find its columns' types."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: one JSON object without newline, and when it is published (None: it always was)."""

    line: str
    published: datetime | None = None


def rows_of(documents: Any) -> list[Row]:
    """The rows of a control request.

    Raises:
        SodaError: 400, a value is neither text nor an object: numbers and booleans are text on the wire.
    """
    if not isinstance(documents, list):
        raise bad_request("rows: must be a list of objects")
    return [_row(number, document) for number, document in enumerate(documents)]


def rows_in(path: Path) -> list[Row]:
    """The rows of a file, one JSON object a line, gzip by its name.

    Raises:
        SodaError: 400, the file cannot be read.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return list(_read(file))
    except (OSError, UnicodeDecodeError) as error:
        raise bad_request(f"path: {path}: {error}") from error


def _read(lines: Iterable[str]) -> Iterator[Row]:
    for number, text in enumerate(lines):
        line = text.strip()
        if f'"{PUBLISHED}"' in line:
            yield _row(number, _parsed(number, line))
        elif line:
            yield Row(line)


def _parsed(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise bad_request(f"row {number}: not JSON: {error}") from error


def _row(number: int, document: Any) -> Row:
    if not isinstance(document, dict):
        raise bad_request(f"row {number}: must be an object")
    kept = {name: value for name, value in document.items() if value is not None and name != PUBLISHED}
    for name, value in kept.items():
        if not isinstance(value, str | dict):
            raise bad_request(f"row {number}: {name}: {value!r} must be text, as it is on the wire, or an object")
    return Row(
        json.dumps(kept, ensure_ascii=False, separators=(",", ":")),
        timestamp(document.get(PUBLISHED), f"row {number}: {PUBLISHED}"),
    )


def timestamp(value: Any, where: str) -> datetime | None:
    """A floating timestamp of a control request; None stays None."""
    if value is None:
        return None
    found = read_timestamp(value) if isinstance(value, str) else None
    if found is None:
        raise bad_request(f"{where}: {value!r} is not a floating timestamp")
    return found


def declared_types(columns: Any) -> dict[str, str]:
    """The columns of a control request: an object of name and type.

    Raises:
        SodaError: 400, it is none, or a type is unknown.
    """
    if not isinstance(columns, Mapping):
        raise bad_request("columns: must be an object of name and type")
    for name, type_ in columns.items():
        if type_ not in TYPES:
            raise bad_request(f"columns: {name}: {type_!r} is not one of {', '.join(TYPES)}")
    return dict(columns)


def seen_types(rows: Sequence[Row]) -> dict[str, str]:
    """The columns that the first rows have, with types that their values show; text unless they show another."""
    types: dict[str, str] = {}
    for number, row in enumerate(rows[:_SAMPLE]):
        document = _parsed(number, row.line)
        if not isinstance(document, dict):
            raise bad_request(f"row {number}: must be an object")
        for name, value in document.items():
            types.setdefault(name, type_of(value))
    return types


def type_of(value: Any) -> str:
    """The type that a value shows. A number shows none: a zip code is text."""
    if isinstance(value, dict):
        return "point" if value.get("type") == "Point" else "location"
    return "floating_timestamp" if isinstance(value, str) and _WIRE_TIMESTAMP.fullmatch(value) else "text"
