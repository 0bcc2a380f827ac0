"""Slicing a window into the ranges that fetchers read side by side: no gap, no overlap, no cursor cut but by keys."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby

from contracts.fetching import KeyRange
from contracts.plans import PlannedRange
from services.planner.core.floating import just_after
from services.planner.core.limit import Bin

SHORT = 4
"""A last segment with at most this part of a segment's rows is not worth a segment of its own."""


def crowded(bins: Sequence[Bin], size: int) -> list[Bin]:
    """Single cursors that have more rows than a segment."""
    return [each for each in bins if each.exact and each.rows > size]


def every(rows: int, size: int) -> int:
    """Of how many rows each part of a crowded cursor consists, evenly filled."""
    return -(-rows // -(-rows // size))


def sliced(
    start: str, end: str, bins: Sequence[Bin], size: int, keys: Mapping[str, Sequence[str]]
) -> list[PlannedRange]:
    """The ranges from ``start`` to ``end``, both inclusive, oldest first; none if there are no rows.

    ``keys`` holds, for each crowded cursor, the key of each ``every``-th row.
    """
    packs = _packed(bins, size, keys)
    ranges: list[PlannedRange] = []
    lower = start
    for pack, upper in zip(packs, [*(p[0].value for p in packs[1:]), None], strict=True):
        at = pack[0].value
        if at not in keys:
            ranges.append(_planned(_span(lower, upper, end), sum(each.rows for each in pack)))
            lower = upper or end
            continue
        if lower < at:
            ranges.append(_planned(KeyRange(start=lower, before=at), 0))
        ranges += _by_keys(pack[0], size, keys[at])
        if at < end:
            lower = min(just_after(at), upper or end)
        if at < end and upper is None:
            ranges.append(_planned(KeyRange(start=lower, to=end), 0))
    return ranges


def segment_id_of_range(within: KeyRange) -> str:
    """A name that depends on the range only."""
    return sha256(within.model_dump_json().encode()).hexdigest()[:24]


def label_of(within: KeyRange) -> str:
    """What is in a range, for people."""
    if within.to == within.start:
        keys = [("after", within.after_key), ("up to", within.to_key)]
        told = " ".join(f"{word} {key}" for word, key in keys if key is not None)
        return f"{within.start}, keys {told}" if told else within.start
    return f"{within.start} to {within.to}" if within.before is None else f"{within.start} until {within.before}"


def _packed(bins: Sequence[Bin], size: int, keys: Mapping[str, Sequence[str]]) -> list[list[Bin]]:
    packs: list[list[Bin]] = []
    for alone, neighbours in groupby(bins, lambda each: each.exact and each.value in keys):
        group = list(neighbours)
        packs += [[each] for each in group] if alone else _even(group, size)
    return packs


def _even(bins: Sequence[Bin], size: int) -> list[list[Bin]]:
    """Neighbouring bins together, in packs of about equal rows and at most ``size`` (the last: a quarter more)."""
    packs: list[list[Bin]] = []
    left = sum(each.rows for each in bins)
    held, share = 0, 0
    for each in bins:
        if not packs or held >= share or held + each.rows > size:
            left -= held
            held, share = 0, -(-left // -(-left // size))
            packs.append([])
        packs[-1].append(each)
        held += each.rows
    if len(packs) > 1 and held * SHORT <= size:
        short = packs.pop()
        packs[-1] += short
    return packs


def _by_keys(crowd: Bin, size: int, keys: Sequence[str]) -> list[PlannedRange]:
    part = every(crowd.rows, size)
    cuts = list(keys[: -(-crowd.rows // part) - 1])
    ends: list[str | None] = [None, *cuts, None]
    rows = [part] * len(cuts) + [max(crowd.rows - part * len(cuts), 0)]
    return [
        _planned(KeyRange(start=crowd.value, to=crowd.value, after_key=after, to_key=upto), expected)
        for after, upto, expected in zip(ends[:-1], ends[1:], rows, strict=True)
    ]


def _span(start: str, before: str | None, end: str) -> KeyRange:
    return KeyRange(start=start, to=end) if before is None else KeyRange(start=start, before=before)


def _planned(within: KeyRange, rows: int) -> PlannedRange:
    return PlannedRange(segment_id=segment_id_of_range(within), range=within, expected_rows=rows)
