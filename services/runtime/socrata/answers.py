"""Bodies of answers: a JSON array of rows, normally one row a line with the comma before it.

A body is used only when its array was closed, so that no row of a broken answer counts.
"""

import json
from typing import Any

from services.runtime.datasets import Block
from services.runtime.failures import PermanentError
from services.runtime.http.answers import BrokenAnswerError
from services.runtime.http.documents import bytes_of, visit_records
from services.runtime.socrata.soql import ROWS, VALUE


def block_of(body: bytes, key: str) -> Block:
    """The rows of a page; ``key`` is a column that every row has once.

    Rows that stand on a line each are cut apart without being parsed. That is right if each line is one row, which
    its ends, its braces and its single key tell; anything else takes the slow way and means the same.

    Raises:
        BrokenAnswerError: it is not a whole array of objects.
    """
    rows = _lines(body)
    if _are_rows(rows, key):
        rows.append(b"")
        return Block(b"\n".join(rows), len(rows) - 1)
    return _parsed(body)


def rows_of(body: bytes) -> list[dict[str, Any]]:
    """The parsed rows of a small answer.

    Raises:
        BrokenAnswerError: it is not a whole array of objects.
    """
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BrokenAnswerError
    return rows


def tally_of(row: dict[str, Any]) -> tuple[str, int]:
    """Value and rows of one group.

    Raises:
        PermanentError: the source answered something else than what was asked.
    """
    try:
        value, rows = row[VALUE], int(row[ROWS])
    except (KeyError, TypeError, ValueError) as error:
        raise PermanentError(f"the source answered {row} where a count was asked") from error
    if not isinstance(value, str):
        raise PermanentError(f"the source answered {row} where a count was asked")
    return value, rows


def _lines(body: bytes) -> list[bytes]:
    """What stands on each line between brackets and commas; none where the lines do not look like that."""
    # A newline cannot stand inside a JSON string, so it separates tokens wherever it is.
    lines = body.rstrip().split(b"\n")
    if not (lines[0].startswith(b"[") and lines[-1].endswith(b"]")):
        return []
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    if not {line[:1] for line in lines[1:]} <= {b","}:
        return []
    return [line[1:] for line in lines]


def _are_rows(lines: list[bytes], key: str) -> bool:
    name = json.dumps(key).encode() + b":"
    looks = [
        line[:1] == b"{" and line[-1:] == b"}" and line.count(name) == 1 and line.count(b"{") == line.count(b"}")
        for line in lines
    ]
    if not (looks and all(looks)):
        return False
    # What was cut off in its last row can look whole from its ends.
    try:
        return isinstance(json.loads(lines[-1]), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(body: bytes) -> Block:
    """The rows of an array in any layout, each in the source's own spelling: to print it anew would change numbers."""
    rows: list[bytes] = []

    def visit(row: Any, line: str) -> None:
        if not isinstance(row, dict):
            raise BrokenAnswerError
        rows.append(bytes_of(line) + b"\n")

    visit_records(body, None, visit)
    return Block(b"".join(rows), len(rows))
