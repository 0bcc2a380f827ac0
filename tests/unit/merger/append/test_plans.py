from collections.abc import Sequence
from itertools import pairwise
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.merger.core.append import (
    GROUPS,
    LARGEST_GROUP_ROWS,
    TARGET_ROWS,
    Group,
    Way,
    compacted_rows,
    group_limit,
    is_worth_appending,
    kept_groups,
    laid_out_rows,
    plan,
    windows,
)

TARGET = 16


def file_of(*moments: Sequence[int]) -> tuple[Group, ...]:
    """A file whose groups hold rows at these moments, ten bytes each, with a footer of five behind each group."""
    groups: list[Group] = []
    at = 4
    for group in moments:
        groups.append(Group(len(group), at, at + 10 * len(group), group[0], group[-1]))
        at += 10 * len(group) + 5
    return tuple(groups)


class File:
    """Groups as the sorted moments of their rows, merged as a plan says."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    def merge(self, new: Sequence[int], most_groups: int = 10_000) -> tuple[int, int]:
        """Merge rows; says how many rows moved and how many of the old ones had to."""
        found = file_of(*self.groups)
        planned = plan(found, min(new), len(new), target=TARGET, most_groups=most_groups)
        affected = sum(group.rows for group in found if group.greatest > min(new))
        moving = sorted([*new, *(moment for group in self.groups[planned.kept :] for moment in group)])
        assert planned.moved_rows == len(moving)
        step = planned.group_rows
        self.groups[planned.kept :] = [moving[i : i + step] for i in range(0, len(moving), step)]
        moments = [moment for group in self.groups for moment in group]
        assert moments == sorted(moments)
        return planned.moved_rows, affected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=40), max_size=40))
def test_few_rows_move(merges: Sequence[Sequence[int]]) -> None:
    """What moves is the new rows, those they stand before, and at most twice the target beside."""
    file = File()
    for new in merges:
        moved, affected = file.merge(new)
        assert moved <= len(new) + affected + 2 * TARGET
        small = [len(group) for group in file.groups if len(group) < TARGET]
        assert all(len(group) >= TARGET for group in file.groups[: len(file.groups) - len(small)])
        assert all(before >= 2 * after for before, after in pairwise(small))
        assert sum(small) < 2 * TARGET


def test_a_row_moves_a_logarithmic_number_of_times() -> None:
    """Thousands of merges of one row each move every row about once for each power of two below the target."""
    file = File()
    moved = sum(file.merge([moment])[0] for moment in range(4_000))
    assert moved <= 4_000 * (log2(TARGET) + 2)
    assert len(file.groups) <= 4_000 // TARGET + log2(TARGET) + 1


def test_full_groups_stay_where_new_rows_only_follow() -> None:
    """A row after all others moves no group that is full, and neither does one that ties with the last."""
    groups = file_of(range(TARGET), range(TARGET, 2 * TARGET))
    assert kept_groups(groups, 2 * TARGET, 1, TARGET) == 2
    assert kept_groups(groups, groups[-1].greatest, 1, TARGET) == 2


def test_a_late_row_moves_the_groups_behind_it() -> None:
    """Groups that end after the earliest new row move, however full they are."""
    groups = file_of(range(TARGET), range(TARGET, 2 * TARGET), range(2 * TARGET, 3 * TARGET))
    assert kept_groups(groups, TARGET + 3, 1, TARGET) == 1
    assert kept_groups(groups, -1, 1, TARGET) == 0


def test_no_rows_move_nothing() -> None:
    """A commit without rows keeps the whole file, however many groups it has."""
    groups = file_of(*([moment] for moment in range(500)))
    planned = plan(groups, None, 0)
    assert (planned.way, planned.kept, planned.moved_rows) == (Way.APPENDED, 500, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5_000), min_size=1, max_size=30), max_size=60), st.integers(4, 20))
def test_there_are_never_too_many_groups(merges: Sequence[Sequence[int]], most_groups: int) -> None:
    """The merge that would make too many groups compacts, and then half of them are free again."""
    file = File()
    for new in merges:
        before = file_of(*file.groups)
        planned = plan(before, min(new), len(new), target=TARGET, most_groups=most_groups)
        file.merge(new, most_groups)
        limit = group_limit(before, len(new), TARGET, most_groups)
        assert len(file.groups) <= limit
        if planned.way is Way.COMPACTED:
            assert len(file.groups) <= max(limit // 2, 1)


@pytest.mark.parametrize(
    ("total", "rows"),
    [
        pytest.param(1, 2 * TARGET_ROWS, id="twice-the-target-at-least"),
        pytest.param(26_000_000, 520_000, id="half-the-groups-that-may-be"),
        pytest.param(1_000_000_000, LARGEST_GROUP_ROWS, id="no-larger-than-late-rows-can-bear"),
    ],
)
def test_groups_of_a_compaction(total: int, rows: int) -> None:
    """Groups of a compaction grow with the file, within limits."""
    assert compacted_rows(total, TARGET_ROWS) == rows


def test_files_beyond_the_largest_groups_may_have_more_of_them() -> None:
    """A file too long for the usual number of groups is not compacted at every merge."""
    fewest = 1_000_000_000 // LARGEST_GROUP_ROWS + 1
    assert group_limit((), 1_000_000_000, TARGET_ROWS) == 2 * fewest
    assert group_limit((), 1_000_000, TARGET_ROWS) == GROUPS


def test_a_file_written_whole_is_not_compacted_by_the_next_merge() -> None:
    """Groups of a file that is laid out are full ones, larger where these were too many."""
    assert laid_out_rows(1_000_000, TARGET_ROWS) == TARGET_ROWS
    assert laid_out_rows(26_000_000, TARGET_ROWS) == 520_000


@given(st.lists(st.integers(1, 30), max_size=30), st.integers(1, 400), st.data())
def test_windows_are_bounded(sizes: Sequence[int], most_bytes: int, data: st.DataObject) -> None:
    """Windows follow one another from the first moved group to the last, each within the limit or one group alone."""
    groups = file_of(*(range(size) for size in sizes))
    first = data.draw(st.integers(0, len(groups)))
    found = windows(groups, first, most_bytes)
    assert [number for window in found for number in range(*window)] == list(range(first, len(groups)))
    for start, after in found:
        assert after == start + 1 or groups[after - 1].end - groups[start].start <= most_bytes
        if after < len(groups):
            assert groups[after].end - groups[start].start > most_bytes


def test_an_end_longer_than_a_window_is_streamed() -> None:
    """Very late rows make an end that is not held in memory."""
    groups = file_of(range(TARGET), range(TARGET, 2 * TARGET))
    assert plan(groups, 0, 1, target=TARGET, window_bytes=200).is_streamed
    assert not plan(groups, 0, 1, target=TARGET, window_bytes=400).is_streamed
    assert not plan(groups, TARGET, 1, target=TARGET, window_bytes=200).is_streamed


@pytest.mark.parametrize(
    ("size", "integers", "expected"),
    [
        pytest.param(99, True, False, id="small"),
        pytest.param(100, True, True, id="large"),
        pytest.param(100, False, False, id="ordered-by-text"),
    ],
)
def test_what_is_appended_to(size: int, *, integers: bool, expected: bool) -> None:
    """Large files, ordered by integers or times."""
    assert is_worth_appending(size, 100, is_ordered_by_integers=integers) is expected
