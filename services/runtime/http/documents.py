"""JSON documents that hold records: each record in the source's own spelling.

To print a parsed record anew would change its numbers, so records are cut out of the text that they came in.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from services.runtime.http.answers import BrokenAnswerError

_SPACE = re.compile(r"[ \t\n\r]*")
_TEXT_OR_SPACE = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\n\r]+')
_BOM = b"\xef\xbb\xbf"


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


# Numbers of thousands of digits are not converted, and nothing is rounded.
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number)

Visitor = Callable[[Any, str], None]
"""Takes a record: parsed, its numbers as ``Number``; and on one line as it was written."""


def visit_records(body: bytes, member: str | None, visit: Visitor) -> dict[str, Any]:
    """Show every element of an answer's array to ``visit``; the other members of the answer.

    Args:
        body: the answer. Bytes that are not UTF-8 stay what they are, for whoever judges the records.
        member: of the object at the top that holds the array; None: the array is the answer.
        visit: is called with each element in order, whatever kind of value it is.

    Raises:
        BrokenAnswerError: it is not such a document as a whole; records may have been shown before that was found.
    """
    text = body.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    try:
        return _visit_document(text, member, visit)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError(f"the answer cannot be read as JSON with its records: {_reason(error)}") from error


def bytes_of(line: str) -> bytes:
    """The bytes that a record's text came from."""
    return line.encode("utf-8", "surrogateescape")


def _visit_document(text: str, member: str | None, visit: Visitor) -> dict[str, Any]:
    others: dict[str, Any] = {}
    start = _after_space(text, 0)
    end = _visit_array(text, start, visit) if member is None else _visit_object(text, start, member, visit, others)
    if _after_space(text, end) != len(text):
        raise ValueError(f"something comes after the answer's end at {end}")
    return others


def _visit_object(text: str, place: int, member: str, visit: Visitor, others: dict[str, Any]) -> int:
    """Where the object ends that starts at a place; its other members are added to ``others``."""
    was_there = False
    place = _expect(text, place, "{")
    if text[place : place + 1] == "}":
        raise ValueError(f"there is no member {member!r}")
    while True:
        if text[place : place + 1] != '"':
            raise ValueError(f"no name of a member at {place}")
        name, end = _DECODER.raw_decode(text, place)
        place = _expect(text, _after_space(text, end), ":")
        if name == member:
            if was_there:
                raise ValueError(f"{member!r} is there twice")
            end, was_there = _visit_array(text, place, visit), True
        else:
            others[name], end = _DECODER.raw_decode(text, place)
        place = _after_space(text, end)
        if text[place : place + 1] == "}":
            break
        place = _expect(text, place, ",")
    if not was_there:
        raise ValueError(f"there is no member {member!r}")
    return place + 1


def _visit_array(text: str, place: int, visit: Visitor) -> int:
    """Where the array ends that starts at a place."""
    place = _expect(text, place, "[")
    if text[place : place + 1] == "]":
        return place + 1
    while True:
        value, end = _DECODER.raw_decode(text, place)
        visit(value, _on_one_line(text[place:end]))
        place = _after_space(text, end)
        if text[place : place + 1] == "]":
            return place + 1
        place = _expect(text, place, ",")


def _expect(text: str, place: int, sign: str) -> int:
    """The next token after this sign."""
    if text[place : place + 1] != sign:
        raise ValueError(f"no {sign!r} at {place}")
    return _after_space(text, place + 1)


def _on_one_line(text: str) -> str:
    # Inside a string no line can end, so that what is taken out stands between tokens.
    return _TEXT_OR_SPACE.sub(r"\1", text) if "\n" in text or "\r" in text else text


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _reason(error: ValueError | RecursionError) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
