"""Types of columns, and text literals as values of them."""

import re
from collections.abc import Mapping
from datetime import datetime

TYPES = ("text", "number", "floating_timestamp", "point", "location")
"""What a column can be; expressions can also be of type boolean or null."""

PARAMETERS: Mapping[str, str] = {"text": "?", "number": "?::DOUBLE", "floating_timestamp": "?::TIMESTAMP"}
"""SQL of a parameter of each type that literals can have."""

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def read_text(text: str, wanted: str) -> str | float | datetime | None:
    """The value of a type that a text spells; None where it spells none."""
    if wanted == "number":
        return float(text) if _NUMBER.fullmatch(text) else None
    if wanted == "floating_timestamp":
        return read_timestamp(text)
    return text if wanted == "text" else None


def read_timestamp(text: str) -> datetime | None:
    """A floating timestamp, or None where the text is none; one with a zone is none."""
    try:
        return datetime.fromisoformat(text) if _TIMESTAMP.fullmatch(text) else None
    except ValueError:
        return None
