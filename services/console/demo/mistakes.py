"""What really arrives beside good events: files that are not JSON, records that break a rule, foreign files."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from services.console.demo.dice import Dice

Document = dict[str, Any]

REQUIRED = (
    *("action", "pipeline_adcid", "project_label", "center_label", "gear_name"),
    *("ptid", "visit_date", "visit_number", "datatype", "timestamp"),
)
"""Fields without which an event is none."""

_WRONG_VALUES: Mapping[str, tuple[str, Any]] = {
    "action-unknown": ("action", "approve"),
    "action-case": ("action", "Submit"),
    "study-empty": ("study", ""),
    "adcid-zero": ("pipeline_adcid", 0),
    "adcid-negative": ("pipeline_adcid", -42),
    "adcid-negative-text": ("pipeline_adcid", "-42"),
    "adcid-not-numeric": ("pipeline_adcid", "forty-two"),
    "adcid-fraction": ("pipeline_adcid", 4.5),
    "adcid-boolean": ("pipeline_adcid", True),
    "adcid-null": ("pipeline_adcid", None),
    "adcid-too-large": ("pipeline_adcid", 2**31),
    "project-empty": ("project_label", ""),
    "center-empty": ("center_label", ""),
    "gear-empty": ("gear_name", ""),
    "ptid-lower-case": ("ptid", "abc123"),
    "ptid-hyphen": ("ptid", "ABC-123"),
    "ptid-too-long": ("ptid", "ABCDEFGHIJK"),
    "ptid-empty": ("ptid", ""),
    "ptid-line-end": ("ptid", "ABC123\n"),
    "ptid-number": ("ptid", 123456),
    "visit-date-impossible": ("visit_date", "2024-02-30"),
    "visit-date-order": ("visit_date", "15/01/2024"),
    "visit-date-with-time": ("visit_date", "2024-01-15T00:00:00"),
    "visit-date-number": ("visit_date", 19737),
    "visit-number-empty": ("visit_number", ""),
    "visit-number-number": ("visit_number", 1),
    "datatype-empty": ("datatype", ""),
    "module-number": ("module", 3),
    "packet-list": ("packet", ["I"]),
    "timestamp-words": ("timestamp", "yesterday"),
    "timestamp-impossible": ("timestamp", "2024-13-01T10:00:00Z"),
    "timestamp-date-only": ("timestamp", "2024-01-15"),
    "timestamp-number": ("timestamp", 1_705_312_800),
    "timestamp-null": ("timestamp", None),
}

Spoil = Callable[[Document, Dice], bytes]


def _with(field: str, value: Any) -> Spoil:
    return lambda document, _: json.dumps({**document, field: value}).encode()


def _without(field: str) -> Spoil:
    return lambda document, _: json.dumps({k: v for k, v in document.items() if k != field}).encode()


INVALID: Mapping[str, Spoil] = MappingProxyType(
    {
        **{kind: _with(field, value) for kind, (field, value) in _WRONG_VALUES.items()},
        **{f"{field}-missing": _without(field) for field in REQUIRED},
        "a-list": lambda document, _: json.dumps([document]).encode(),
        "wrapped": lambda document, _: json.dumps({"event": document}).encode(),
        "just-null": lambda _document, _: b"null",
        "just-text": lambda _document, _: b'"submit"',
    }
)
"""JSON that is no visit event, by what is wrong with it."""


def _truncated(document: Document, dice: Dice) -> bytes:
    body = json.dumps(document).encode()
    return body[: dice.between(1, len(body) - 1)]


MALFORMED: Mapping[str, Spoil] = MappingProxyType(
    {
        "empty": lambda _document, _: b"",
        "blank": lambda _document, _: b" \n",
        "truncated": _truncated,
        "two-in-one": lambda document, _: b"\n".join([json.dumps(document).encode()] * 2),
        "trailing-comma": lambda document, _: json.dumps(document).encode()[:-1] + b",}",
        "single-quotes": lambda document, _: repr(document).encode(),
        "html": lambda _document, _: b"<html><body>504 Gateway Time-out</body></html>",
        "text": lambda document, _: f"submit {document['ptid']}".encode(),
        "not-utf-8": lambda document, _: json.dumps(document).encode().replace(b'"submit"', b'"\xff\xfe"'),
    }
)
"""Bodies that are not JSON, by how they came about."""


def _same_body(name: str) -> Callable[[str], str]:
    return lambda _: name


FOREIGN: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "readme": _same_body("README.txt"),
        "finder": _same_body(".DS_Store"),
        "folder-marker": _same_body("archive/"),
        "unknown-action": lambda name: name.replace("log-submit-", "log-unknown-", 1),
        "capital-action": lambda name: name.replace("log-submit-", "log-Submit-", 1),
        "other-extension": lambda name: name.removesuffix(".json") + ".csv",
        "upper-extension": lambda name: name.removesuffix(".json") + ".JSON",
        "part-file": lambda name: name + ".part",
        "no-time": lambda name: "-".join([*name.split("-")[:2], *name.split("-")[4:]]),
        "prefixed": lambda name: "copy of " + name,
    }
)
"""Names that are none of ours, made from the name of a submit event."""

EMPTY_FOREIGN = frozenset({"folder-marker", "finder"})
"""Foreign files without content."""
