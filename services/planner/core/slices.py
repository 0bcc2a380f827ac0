"""Slicing a window into the ranges that fetchers read side by side: no gap, no overlap, no cursor cut but by keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby

from contracts.fetching import KeyRange
from contracts.plans import PlannedRange
from services.planner.core.floating import just_after
from services.planner.core.limit import Bin

SHORT = 4
"""A last segment with at most this part of a segment's rows is not worth a segment of its own."""
PARALLEL = 4
"""Segments that a plan should have if it has enough rows, so that fetchers work side by side."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows of a segment: how many to aim at, the most, and how few are not worth cutting for."""

    aim: int
    most: int
    least: int = 1


def sizes_for(rows: int, *, segment_rows: int, batch_rows: int) -> Sizes:
    """The sizes of a plan's segments: smaller than declared where the fetchers would not all have work."""
    if PARALLEL * batch_rows < rows < PARALLEL * segment_rows:
        return Sizes(aim=-(-rows // PARALLEL), most=segment_rows, least=min(batch_rows, segment_rows))
    return Sizes(aim=segment_rows, most=segment_rows)


def too_large(bins: Sequence[Bin], sizes: Sizes) -> int | None:
    """The first day that has more rows than a segment aims at."""
    return next((i for i, each in enumerate(bins) if not each.exact and each.rows > sizes.aim), None)


def crowded(bins: Sequence[Bin], sizes: Sizes) -> list[Bin]:
    """Single cursors that are too many rows for one segment."""
    return [each for each in bins if each.exact and _parts(each.rows, sizes) > 1]


def every(rows: int, sizes: Sizes) -> int:
    """Of how many rows each part of a crowded cursor consists, evenly filled."""
    return -(-rows // _parts(rows, sizes))


def sliced(
    start: str, end: str, bins: Sequence[Bin], sizes: Sizes, keys: Mapping[str, Sequence[str]]
) -> list[PlannedRange]:
    """The ranges from ``start`` to ``end``, both inclusive, oldest first; none if there are no rows.

    ``keys`` holds, for each crowded cursor, the key of each ``every``-th row.
    """
    packs = _packed(bins, sizes, keys)
    if not packs:
        return []
    uppers: list[str | None] = [*(pack[0].value for pack in packs[1:]), None]
    ranges: list[PlannedRange] = []
    lower = start
    for pack, upper in zip(packs, uppers, strict=True):
        at = pack[0].value
        if at not in keys:
            ranges.append(_planned(_span(lower, upper, end), sum(each.rows for each in pack)))
            lower = upper or end
            continue
        if lower < at:
            ranges.append(_planned(KeyRange(start=lower, before=at), 0))
        ranges += _by_keys(pack[0], sizes, keys[at])
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


def _parts(rows: int, sizes: Sizes) -> int:
    return max(-(-rows // sizes.most), min(-(-rows // sizes.aim), rows // sizes.least))


def _packed(bins: Sequence[Bin], sizes: Sizes, keys: Mapping[str, Sequence[str]]) -> list[list[Bin]]:
    packs: list[list[Bin]] = []
    for alone, neighbours in groupby(bins, lambda each: each.exact and each.value in keys):
        group = list(neighbours)
        packs += [[each] for each in group] if alone else _even(group, sizes)
    return packs


def _even(bins: Sequence[Bin], sizes: Sizes) -> list[list[Bin]]:
    """Neighbouring bins together, in packs that come as near to equal rows as their bins allow."""
    packs: list[list[Bin]] = []
    left = sum(each.rows for each in bins)
    held, share = 0, 0
    for each in bins:
        if not packs or held + each.rows > sizes.most or _is_full(held, each.rows, share, sizes.least):
            left -= held
            held, share = 0, -(-left // -(-left // sizes.aim))
            packs.append([])
        packs[-1].append(each)
        held += each.rows
    if len(packs) > 1 and held * SHORT <= sizes.aim:
        short = packs.pop()
        packs[-1] += short
    return packs


def _is_full(held: int, more: int, share: int, least: int) -> bool:
    """Whether a pack has its share, or is nearer to it without the next bin."""
    return held >= share or (held >= least and held + more - share > share - held)


def _by_keys(crowd: Bin, sizes: Sizes, keys: Sequence[str]) -> list[PlannedRange]:
    part = every(crowd.rows, sizes)
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
