"""Where a run's limit falls, told from counts that are as coarse as can be.

Counts are asked for by day. A day is counted by cursor only where a decision hinges on what is inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

DAY = len("YYYY-MM-DD")


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of a day, or (``exact``) of one cursor; ``value`` is the day's or the cursor's literal text."""

    value: str
    rows: int
    exact: bool = False


def in_doubt(bins: Sequence[Bin], known: str | None, most: int) -> int | None:
    """Which day must be counted by cursor before it can be told where ``most`` rows of new ground end, if any.

    ``known`` is the cursor up to which rows are no new ground.
    """
    if sum(b.rows for b in bins if _is_new(b, known) or _straddles(b, known)) <= most:
        return None
    for index, each in enumerate(bins):
        if _straddles(each, known):
            return index
    fits, rows = _fitting(bins, known, most)
    if fits == len(bins):
        return None
    last_is_new = fits > 0 and _is_new(bins[fits - 1], known)
    if last_is_new and not bins[fits - 1].exact and (rows == most or bins[fits].exact):
        return fits - 1
    if bins[fits].exact or (rows == most and last_is_new):
        return None
    return fits


def within(bins: Sequence[Bin], known: str | None, most: int) -> list[Bin]:
    """The bins that a run takes: all that is known, and of the new ground at most ``most`` rows, or one cursor.

    Nothing may be in doubt any more.
    """
    fits, rows = _fitting(bins, known, most)
    if fits == len(bins):
        return list(bins)
    # Progress is never refused: a first group that is larger than the limit is taken whole.
    return list(bins[: fits if rows else fits + 1])


def _fitting(bins: Sequence[Bin], known: str | None, most: int) -> tuple[int, int]:
    """How many bins, from the first, have at most ``most`` rows of new ground, and how many rows that is."""
    rows = 0
    for index, each in enumerate(bins):
        new = each.rows if _is_new(each, known) else 0
        if rows + new > most:
            return index, rows
        rows += new
    return len(bins), rows


def _is_new(each: Bin, known: str | None) -> bool:
    return known is None or each.value > known


def _straddles(each: Bin, known: str | None) -> bool:
    """Whether a day may hold rows on both sides of what is known."""
    return known is not None and not each.exact and each.value <= known and each.value[:DAY] == known[:DAY]
