"""SoQL text into tokens."""

import re
from dataclasses import dataclass
from typing import Literal

from soda_errors import SodaError, bad_query

Kind = Literal["text", "number", "name", "word", "symbol", "end"]

WORDS = frozenset(
    {"and", "or", "not", "in", "like", "between", "is", "null", "as", "asc", "desc", "nulls", "first", "last"}
    | {"true", "false"}
)
"""Names with a meaning of their own; between backticks they are columns."""

_PATTERN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>'(?:[^']|'')*')
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[A-Za-z_:@][A-Za-z0-9_:@]*|`[^`]+`)
    |(?P<symbol><>|!=|==|<=|>=|[=<>(),*-])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token; ``value`` is a text literal without its quotes, a name in lower case."""

    kind: Kind
    value: str
    at: int
    """Where it begins, counted from 0."""


def tokenize(text: str) -> list[Token]:
    """Every token of one clause and an ``end`` token.

    Raises:
        SodaError: 400, a character that begins no token, or a text literal without its end.
    """
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = _PATTERN.match(text, at)
        if found is None:
            raise syntax_error(text, at, "a text literal does not end" if text[at] == "'" else f"{text[at]!r}")
        if found.lastgroup != "space":
            tokens.append(_token(found))
        at = found.end()
    return [*tokens, Token("end", "", len(text))]


def _token(found: re.Match[str]) -> Token:
    value, at = found.group(), found.start()
    match found.lastgroup:
        case "text":
            return Token("text", value[1:-1].replace("''", "'"), at)
        case "number":
            return Token("number", value, at)
        case "name":
            if value.startswith("`"):
                return Token("name", value[1:-1].lower(), at)
            return Token("word" if value.lower() in WORDS else "name", value.lower(), at)
        case _:
            return Token("symbol", value, at)


def syntax_error(text: str, at: int, problem: str) -> SodaError:
    """What stands at a place is not what can stand there."""
    return bad_query(
        "no-parse", f"Could not parse SoQL query {text!r}: {problem} at column {at + 1}", query=text, column=at + 1
    )
