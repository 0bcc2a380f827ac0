"""Moments: every way in which APIs write them, to the microsecond."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.http.moments import moment_of, zulu

NOON = datetime(2026, 1, 15, 12)  # noqa: DTZ001 - what is read is UTC without its zone


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-15T12:00:00Z",
        "2026-01-15 12:00:00",
        "2026-01-15t12:00:00z",
        " 2026-01-15T12:00:00.000000000Z ",
        "2026-01-15T12:00:00,0",
        "2026-01-15T14:30:00+02:30",
        "2026-01-15T14:30:00+0230",
        "2026-01-15T10:00:00-02",
        "2026-01-14T12:01:00-23:59",
    ],
)
def test_ways_to_write_noon(text: str) -> None:
    """Separators, zones and decimals may be written in any usual way; without zone it is UTC."""
    assert moment_of(text) == NOON


@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [("5", 500_000), ("000001", 1), ("9999999", 999_999), ("0000009", 0), ("1234564999", 123_456), ("", 0)],
)
def test_decimals_are_cut(fraction: str, microsecond: int) -> None:
    """Any number of decimals is exact to the microsecond, and never rounded up."""
    text = f"2026-01-15T12:00:00{'.' if fraction else ''}{fraction}Z"
    assert moment_of(text) == NOON.replace(microsecond=microsecond)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-15",
        "2026-01-15T12:00",
        "2026-01-15T12:00:60Z",
        "2026-01-15T24:00:00Z",
        "2026-02-30T12:00:00Z",
        "0000-01-15T12:00:00Z",
        "2026-01-15T12:00:00.Z",
        "2026-01-15T12:00:00 Z",
        "2026-01-15T12:00:00+24:00",
        "2026-01-15T12:00:00+02:60",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "20260115T120000Z",
        "٢٠٢٦-01-15T12:00:00Z",
        "1768478400",
    ],
)
def test_what_is_none(text: str) -> None:
    """What is no moment of the calendar in that form is none."""
    assert moment_of(text) is None


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001 - same
def test_every_moment_comes_back(moment: datetime, ahead: int) -> None:
    """Whatever zone a moment is written in, it is the same one, and so is what we write."""
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=ahead)))
    assert moment_of(there.isoformat()) == moment
    assert moment_of(zulu(moment)) == moment
