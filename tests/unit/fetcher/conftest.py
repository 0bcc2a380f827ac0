"""Fixtures of the fetcher's tests."""

import pytest

from tests.unit.fetcher.world import World, row


@pytest.fixture
def world() -> World:
    """Ten rows of the day, in order, and one after it."""
    return World(rows=[*(row(n, n) for n in range(10)), {"unique_key": "00000099", "created_date": "2026-01-01"}])
