"""Bodies of answers: a JSON array of rows, normally one row a line with the comma before it.

A body is used only when its array was closed, so that no row of a broken answer counts.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from services.runtime.datasets import Block
from services.runtime.failures import PermanentError
from services.runtime.socrata.soql import ROWS, VALUE

MESSAGE_CHARS = 500
"""Most characters of a source's own words in an error's text."""

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class BrokenAnswerError(Exception):
    """The body is not a whole array of rows: it was cut, or somebody else answered. Asking again may help."""


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
    return _parsed(body.strip())


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


def message_of(body: bytes) -> str:
    """What a source says where it gives no rows, in one line: its message, or else how its answer begins."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body)
    message = document.get("message") if isinstance(document, dict) else None
    return _one_line(message) if isinstance(message, str) and message.strip() else _excerpt(body)


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


def _parsed(text: bytes) -> Block:
    """The rows of an array in any layout, each in the source's own spelling: to print it anew would change numbers."""
    array = text.decode("utf-8", "surrogateescape")
    try:
        rows = [array[start:end].replace("\n", " ") + "\n" for start, end in _spans(array)]
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError from error
    return Block("".join(rows).encode("utf-8", "surrogateescape"), len(rows))


def _spans(array: str) -> Iterator[tuple[int, int]]:
    """Where each object of an array starts and ends.

    Raises:
        ValueError: it is not an array of objects and nothing else.
    """
    if not (array.startswith("[") and array.endswith("]")):
        raise ValueError("not an array")
    place, last = _after_space(array, 1), len(array) - 1
    if place == last:
        return
    while array[place] == "{":
        _, end = _DECODER.raw_decode(array, place)
        yield place, end
        place = _after_space(array, end)
        if place == last:
            return
        if array[place] != ",":
            break
        place = _after_space(array, place + 1)
    raise ValueError(f"neither a row nor the end at {place}")


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _excerpt(body: bytes) -> str:
    text = _one_line(body[: 4 * MESSAGE_CHARS].decode(errors="replace"))
    return f"{len(body)} bytes: {text}" if text else "an empty body"


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + "…"
