r"""Moulds: what rows of one source have in common, taken from a sample.

Rows are written by one program, so most of them differ only inside their values. A line is cut at ``","`` into pieces;
a *stencil* is what stays of a piece without its values, a *mould* is the sequence of a sample's stencils. The sample
was read by a JSON parser. A line whose pieces fit the same stencils, with one whole token in each gap, has the same
tokens in the same order but for those, so it *is* the same object with other values. Nothing else is trusted.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from contracts.pipelines import Column
from services.validator.core.declared.lines import parse
from services.validator.core.declared.rules import Kind, Rule, rule_for
from services.validator.core.declared.values import AXES

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"\\]|\\.)*)"|(?P<number>-?[0-9][-+.0-9eE]*)|(?P<word>true|false)|(?P<null>null)|(?P<mark>[{}\[\],:])'
)
_LONGEST = 65_536
"""Characters of the longest line that is worth a mould."""
_MOST_PIECES = 256
_MOST_SLOTS = 16
"""Of one stencil; they become groups of one regular expression."""

Path = tuple[str | int, ...]


class Target(NamedTuple):
    """What a value is for: a column, or a part of it where that is a point."""

    column: str
    part: str = ""


class Slot(NamedTuple):
    """A gap of a stencil; one without a target and a rule is only checked."""

    kind: Kind
    target: Target | None = None
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Stencil:
    """One piece without its values: the text around each slot, so one more than there are slots."""

    texts: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Mould:
    """The stencils of a line, in order, and its members that no column is declared for."""

    stencils: tuple[Stencil, ...]
    unknown: frozenset[str]


class _Value(NamedTuple):
    """A scalar of a sample, with its place in the text (without quotes)."""

    start: int
    end: int
    kind: Kind
    token: str


def mould_of(sample: str, separator: str, columns: Mapping[str, Column]) -> Mould | None:
    """The mould of a sample; None if rows like it are the reference's to judge, one by one."""
    if len(sample) > _LONGEST:
        return None
    try:
        document = parse(sample.encode())
        values = dict(_values(sample))
    except (ValueError, RecursionError):  # whatever it is, rows like it are not worth a mould
        return None
    slots = _slots(document, values, columns)
    stencils = None if slots is None else _stencils(sample, separator, slots)
    if stencils is None or not _are_usable(stencils):
        return None
    return Mould(tuple(stencils), frozenset(document.keys() - columns.keys()))


def _values(text: str) -> Iterator[tuple[Path, _Value]]:
    """Every scalar of a document that is valid JSON, in order.

    Raises:
        ValueError: a key has an escape, or stands twice in one object.
    """
    path: list[str | int] = []
    keys: list[set[str] | None] = []  # of each open object; None for a list
    is_key = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        written = found[kind]
        if kind == "mark":
            if written in "{[":
                keys.append(set() if written == "{" else None)
                path.append(0)
            elif written in "}]":
                keys.pop()
                path.pop()
            elif written == "," and keys[-1] is None:
                path[-1] = int(path[-1]) + 1
            is_key = written in "{," and keys[-1] is not None if keys else False
        elif is_key:
            seen = keys[-1]
            if seen is None or "\\" in written or written in seen:
                raise ValueError(f"the key {written!r} is not plain or not the only one")
            seen.add(written)
            path[-1], is_key = written, False
        elif kind in {Kind.TEXT, Kind.NUMBER, Kind.WORD}:
            yield tuple(path), _Value(found.start(kind), found.end(kind), Kind(kind), written)


def _slots(
    document: Mapping[str, object], values: Mapping[Path, _Value], columns: Mapping[str, Column]
) -> list[tuple[_Value, Slot]] | None:
    """What each value is for; None if a column misses a value it requires, or has one that only the reference reads."""
    read: dict[Path, Slot] = {}
    for name, column in columns.items():
        given = document.get(name)
        if given is None:
            if column.required:
                return None
            continue
        places = _point(name, given) if column.type == "point" else {(name,): ""}
        for path, part in places.items():
            value = values.get(path)
            rule = None if value is None else rule_for(part or column.type, value.kind, value.token)
            if value is None or rule is None:
                return None
            read[path] = Slot(value.kind, Target(name, part), rule)
        if not places:
            return None
    return [(value, read.get(path, Slot(value.kind))) for path, value in values.items()]


def _point(name: str, value: object) -> Mapping[Path, str]:
    """The values of a point by their place, in one of the two forms; none if it is something else."""
    if not isinstance(value, dict):
        return {}
    if "type" not in value and "coordinates" not in value:
        return {(name, "latitude"): "latitude", (name, "longitude"): "longitude"}
    coordinates = value.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) != AXES:
        return {}
    longitude, latitude = (name, "coordinates", 0), (name, "coordinates", 1)
    return {(name, "type"): "type", longitude: "longitude", latitude: "latitude"}


def _stencils(text: str, separator: str, slots: list[tuple[_Value, Slot]]) -> list[Stencil] | None:
    """The stencils of the pieces; None if a value holds the separator, and so was cut in two."""
    stencils = []
    start = taken = 0
    for piece in text.split(separator):
        end = start + len(piece)
        texts: list[str] = []
        own: list[Slot] = []
        place = start
        for value, slot in slots[taken:]:
            if value.start < place or value.end > end:
                break
            texts.append(text[place : value.start])
            own.append(slot)
            place = value.end
        taken += len(own)
        stencils.append(Stencil((*texts, text[place:end]), tuple(own)))
        start = end + len(separator)
    return stencils if taken == len(slots) else None


def _are_usable(stencils: list[Stencil]) -> bool:
    """Whether each of them stands once, so that a piece has one place, and there are few enough to be quick."""
    is_small = len(stencils) <= _MOST_PIECES and all(len(stencil.slots) <= _MOST_SLOTS for stencil in stencils)
    return is_small and len(set(stencils)) == len(stencils)
