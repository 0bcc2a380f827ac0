"""Which days a run covers, and how its chunks are cut."""

from datetime import date

import pytest

from contracts.chunk_jobs import ChunkSizes, DayWindow
from contracts.chunks import ChunkPayload
from services.runtime.chunking.ports import Window
from services.runtime.chunking.window import sizes_of, window_of
from services.runtime.failures import BadDeclarationError

TODAY = date(2026, 3, 15)


def test_a_run_covers_the_declared_days_around_today() -> None:
    """Two years back and thirty days ahead unless the job says otherwise."""
    assert window_of(DayWindow(), ChunkPayload(), TODAY) == Window(date(2024, 3, 15), date(2026, 4, 14))
    narrow = DayWindow(lookback_years=0, lookahead_days=0)
    assert window_of(narrow, ChunkPayload(), TODAY) == Window(TODAY, TODAY)


def test_a_leap_day_has_a_day_years_before() -> None:
    """29 February counts from 28 February where there is none."""
    found = window_of(DayWindow(lookback_years=1), ChunkPayload(), date(2024, 2, 29))
    assert found.first_day == date(2023, 2, 28)
    assert window_of(DayWindow(lookback_years=4), ChunkPayload(), date(2024, 2, 29)).first_day == date(2020, 2, 29)


def test_a_payload_names_its_own_days() -> None:
    """One of the two, or both."""
    first = ChunkPayload(first_day=date(2026, 1, 1))
    assert window_of(DayWindow(), first, TODAY) == Window(date(2026, 1, 1), date(2026, 4, 14))
    both = ChunkPayload(first_day=date(2020, 1, 1), last_day=date(2020, 1, 1))
    assert window_of(DayWindow(), both, TODAY) == Window(date(2020, 1, 1), date(2020, 1, 1))


def test_days_the_wrong_way_round_are_refused() -> None:
    """A day of the payload beyond the declared other end is a mistake, and is said with both."""
    with pytest.raises(BadDeclarationError, match="first day 2027-01-01 is after its last day 2026-04-14"):
        window_of(DayWindow(), ChunkPayload(first_day=date(2027, 1, 1)), TODAY)


@pytest.mark.parametrize(
    ("payload", "target", "longest", "keys"),
    [
        (ChunkPayload(), 10, 20, 3),
        (ChunkPayload(target_rows=15, max_keys=7), 15, 20, 7),
        (ChunkPayload(target_rows=50), 50, 50, 3),
        (ChunkPayload(max_rows=5), 5, 5, 3),
        (ChunkPayload(target_rows=50, max_rows=60), 50, 60, 3),
    ],
)
def test_what_a_payload_asks_for_counts(payload: ChunkPayload, target: int, longest: int, keys: int) -> None:
    """A declared limit gives way where the payload's would contradict it."""
    sizes = sizes_of(ChunkSizes(target_rows=10, max_rows=20, max_keys=3), payload)
    assert (sizes.target_rows, sizes.max_rows, sizes.max_keys) == (target, longest, keys)


def test_a_payload_that_contradicts_itself_is_refused() -> None:
    """No chunk can aim at more rows than it may have."""
    with pytest.raises(BadDeclarationError, match="max_rows 5 is less than target_rows 6"):
        sizes_of(ChunkSizes(), ChunkPayload(target_rows=6, max_rows=5))
