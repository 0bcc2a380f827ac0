"""What a server says about values, without the values: keys of a chunk may be personal."""

from collections.abc import Iterable

import asyncpg

HIDDEN = "…"
_DATA = "22"
"""Class of the SQLSTATEs whose words quote the value that was no good."""
_QUOTES = "\"'«»„“”\u201a\u2018\u2019"
_SHORT = 3
"""Characters of a value that is too common to be looked for in a text."""


def without_values(error: asyncpg.PostgresError, values: Iterable[object] = ()) -> None:
    """Take values of rows out of an error for good: its detail, what it quotes, and what a statement was given."""
    data = (error.sqlstate or "").startswith(_DATA)
    if data and error.severity is None:
        # Not the server's: the driver could not send a value, and quotes it here and in what led to it.
        error.__cause__ = error.__context__ = None
        error.args = ("a parameter of it has a type that its value is none of",)
        return
    error.detail = None
    words = str(error.args[0]) if error.args else ""
    if data:
        places = [place for place, letter in enumerate(words) if letter in _QUOTES]
        if places:
            words = words[: places[0] + 1] + HIDDEN + words[places[-1] :]
    for array in values:
        for value in array if isinstance(array, list) else ():
            if isinstance(value, str) and len(value) > _SHORT:
                words = words.replace(value, HIDDEN)
    error.args = (words,)
