"""Which row groups of a sorted file stay as they are when rows are merged into it; pure.

A group that ends at or before the earliest new row need not be touched. Of the others and the new rows a new end of the
file is made. So that many small merges do not leave many small groups, the end also takes in the groups before it that
are small beside it: a group below the target is then at least twice the next one. What a row is moved into is half as
large again at least as what it was in, so a row moves a number of times that is logarithmic in the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

TARGET_ROWS = 131_072
"""Rows of a full group. It does not grow with the file: all full groups would stop being full at once."""
GROUPS = 100
"""Groups beyond which a file is compacted; the footers between them take about 1.6 KB times half their square."""
COMPACTED_GROUPS = GROUPS // 2
"""Groups that a compaction leaves at most, while they are smaller than LARGEST_GROUP_ROWS."""
LARGEST_GROUP_ROWS = 524_288
"""A group that is written is held in memory, and a late row moves a whole one: groups are not made larger than this."""
WINDOW_BYTES = 8 * 1024 * 1024
"""Bytes of groups that are read at once. An end of the file that is longer is merged piece by piece while it is sent:
very late rows cost time, not memory."""


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: bytes ``[start, end)`` of the file hold its columns; extremes are of the ordering column."""

    rows: int
    start: int
    end: int
    least: int
    greatest: int


class Way(Enum):
    """How rows come into a file: what log lines and metrics call it."""

    APPENDED = "append"
    COMPACTED = "append-compacted"
    LAID_OUT = "append-laid-out"


@dataclass(frozen=True, slots=True)
class Plan:
    """The first ``kept`` groups stay; the others and the new rows are written in groups of ``group_rows``."""

    way: Way
    kept: int
    group_rows: int
    moved_rows: int
    windows: tuple[tuple[int, int], ...]
    """Groups ``[first, after)`` that are read at once, in order."""

    @property
    def is_streamed(self) -> bool:
        """Whether the new end is too long to be made in memory."""
        return len(self.windows) > 1


def plan(
    groups: Sequence[Group],
    earliest: int | None,
    new_rows: int,
    *,
    target: int = TARGET_ROWS,
    most_groups: int = GROUPS,
    window_bytes: int = WINDOW_BYTES,
) -> Plan:
    """How to merge so many rows, the earliest of them at ``earliest``; None where there are none."""
    kept = len(groups) if earliest is None else kept_groups(groups, earliest, new_rows, target)
    way, group_rows = Way.APPENDED, target
    moved = new_rows + sum(group.rows for group in groups[kept:])
    if earliest is not None and kept + -(-moved // target) > group_limit(groups, new_rows, target, most_groups):
        way, kept = Way.COMPACTED, 0
        moved = new_rows + sum(group.rows for group in groups)
        group_rows = compacted_rows(moved, target, most_groups)
    return Plan(way, kept, group_rows, moved, windows(groups, kept, window_bytes))


def kept_groups(groups: Sequence[Group], earliest: int, new_rows: int, target: int) -> int:
    """How many groups stay byte for byte; what moves is at most the new and affected rows and twice the target."""
    kept = len(groups)
    while kept and groups[kept - 1].greatest > earliest:
        kept -= 1
    moving = new_rows + sum(group.rows for group in groups[kept:])
    while kept and groups[kept - 1].rows < min(target, 2 * moving):
        kept -= 1
        moving += groups[kept].rows
    return kept


def compacted_rows(total: int, target: int, most_groups: int = GROUPS) -> int:
    """Rows of each group after a compaction: so many that half of the groups a file may have are free again."""
    wanted = -(-total // max(1, most_groups // 2))
    return max(2 * target, min(wanted, max(LARGEST_GROUP_ROWS, 2 * target)))


def laid_out_rows(total: int, target: int, most_groups: int = GROUPS) -> int:
    """Rows of each group of a file that is written whole: no more groups than a compaction would leave."""
    return target if -(-total // target) <= most_groups // 2 else compacted_rows(total, target, most_groups)


def group_limit(groups: Sequence[Group], new_rows: int, target: int, most_groups: int = GROUPS) -> int:
    """Groups beyond which compacting pays: a file too long for the usual limit may have twice its fewest."""
    total = new_rows + sum(group.rows for group in groups)
    return max(most_groups, 2 * -(-total // compacted_rows(total, target, most_groups)))


def windows(groups: Sequence[Group], first: int, most_bytes: int) -> tuple[tuple[int, int], ...]:
    """Neighbouring groups from ``first`` on that are read at once: together within the limit, or one alone."""
    found: list[tuple[int, int]] = []
    start = first
    for number in range(first, len(groups)):
        if number > start and groups[number].end - groups[start].start > most_bytes:
            found.append((start, number))
            start = number
    return (*found, (start, len(groups))) if start < len(groups) else ()


def is_worth_appending(size: int, append_from: int, *, is_ordered_by_integers: bool) -> bool:
    """Whether a file of so many bytes is appended to: only of integers and times are statistics the very values."""
    return size >= append_from and is_ordered_by_integers
