"""How far an operator may set a watermark back, and what that means for the next run."""

import pytest

from contracts.sources import ObjectSource, PostgresSource, SocrataSource
from services.console.commands.watermark import (
    check_backwards,
    cursor_at,
    floating,
    in_utc,
    load_again,
    read_again,
    zoned,
)
from services.runtime.failures import BadDeclarationError
from services.runtime.watermarks import Watermark

SOURCE = SocrataSource(kind="socrata", dataset="erm2-nwe9", cursor="created_date", unique_key="unique_key")


def mark(cursor: str | None, until: str | None = None) -> Watermark:
    """A watermark of a collecting pipeline."""
    return Watermark("nyc_311#service_requests", cursor, 3, "r", "2025-02-23T06:00:00+00:00", until)


@pytest.mark.parametrize(
    "text", ["2025-02-21T00:00:00", "2025-02-21T14:30:00.000", "2025-11-02T01:30:00.1", "2024-02-29T23:59:59.999999"]
)
def test_a_floating_moment_keeps_its_literal_form(text: str) -> None:
    """Cursors are compared as text: nothing is added, rounded or converted."""
    assert floating(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-21",
        "2025-02-21 14:30:00",
        "2025-02-21T14:30",
        "20250221T143000",
        "2025-W08-5T14:30:00",
        "2025-02-21T14:30:00,5",
        "2025-02-30T00:00:00",
        "2025-02-21T14:30:00Z",
        "2025-02-21T14:30:00-05:00",
        "٢٠٢٥-02-21T14:30:00",
        "soon",
        "",
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    """Another form of the same moment would compare differently; a zone would move it."""
    with pytest.raises(BadDeclarationError, match=r"^--to"):
        floating(text)


def test_a_moment_of_uploads_needs_a_zone() -> None:
    """S3 knows when an object came; nobody knows what a bare local time means there."""
    assert zoned("2026-01-01T00:00:00+00:00") == "2026-01-01T00:00:00+00:00"
    with pytest.raises(BadDeclarationError, match="give a zone"):
        zoned("2026-01-01T00:00:00")


def test_nobody_moves_it_forward_by_hand() -> None:
    """Neither past the cursor, nor so that the next run would start later than it would have started."""
    stands = mark("2025-02-21T12:00:00.000", "2025-02-18T06:00:00.000")
    check_backwards(SOURCE, stands, "2025-02-20T06:00:00.000")
    with pytest.raises(BadDeclarationError, match="later than 2025-02-21T12"):
        check_backwards(SOURCE, stands, "2025-02-21T12:00:00.001")
    with pytest.raises(BadDeclarationError, match=r"would read less: the next run starts at 2025-02-18T06:00:00\.000"):
        check_backwards(SOURCE, stands, "2025-02-20T06:00:00.001")


def test_without_a_proof_the_lag_counts_from_the_cursor() -> None:
    """Then any earlier moment is a rewind, the same moment in another form too."""
    stands = mark("2025-02-21T12:00:00.000")
    for cursor in ("2025-02-21T12:00:00", "2025-02-21T12:00:00.000000", "0001-01-01T00:00:00"):
        check_backwards(SOURCE, stands, cursor)
    check_backwards(SOURCE, mark(None), "2025-02-21T12:00:00")


def test_uploads_are_rewound_in_their_own_zone() -> None:
    """Moments with different offsets compare as moments."""
    uploads = ObjectSource(kind="objects", key_patterns=["x"])
    stands = Watermark("visit_events#events", "2026-01-02T00:00:00+00:00", 1, "r", "")
    check_backwards(uploads, stands, "2026-01-02T01:00:00+01:00")
    with pytest.raises(BadDeclarationError, match="nobody moves it forward"):
        check_backwards(uploads, stands, "2026-01-02T00:30:00+00:00")


def test_a_dry_run_says_where_the_next_run_would_start() -> None:
    """Less the lag, beside where it would start as things stand."""
    stands = mark("2025-02-21T12:00:00.000", "2025-02-19T18:00:00.000")
    assert read_again(SOURCE, stands, "2025-02-10T00:00:00") == (
        "the next run would start at 2025-02-08T00:00:00.000 (48 h of lag before 2025-02-10T00:00:00); "
        "as it stands, it starts at 2025-02-19T18:00:00.000"
    )
    assert read_again(SOURCE, mark("2025-02-21T12:00:00"), None) == (
        "the next run would load the last 365 days anew; as it stands, it starts at 2025-02-19T12:00:00.000"
    )
    assert read_again(SOURCE, mark(None), None).endswith("as it stands, it starts over")


TABLE = PostgresSource(kind="postgres", system="rds", key=["id"], cursor="updated_at", secret="s", table="orders")  # noqa: S106 - a name


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("2026-01-01", "2026-01-01T00:00:00.000000"),
        ("2026-01-01 12:30:00.5", "2026-01-01T12:30:00.500000"),
        ("2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00.000000"),
        ("0999-01-01T00:00:00Z", "0999-01-01T00:00:00.000000"),
    ],
)
def test_an_entitys_cursor_is_26_characters_of_utc(text: str, cursor: str) -> None:
    """A time without a zone is UTC already, as the source's own are."""
    assert in_utc(text) == cursor_at(TABLE, text) == cursor


@pytest.mark.parametrize("text", ["soon", "2026-02-30", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_of_utc_is_refused(text: str) -> None:
    """Also one that UTC's calendar does not have."""
    with pytest.raises(BadDeclarationError, match=r"^--to"):
        in_utc(text)


def test_an_entitys_watermark_goes_backwards_only() -> None:
    """There is no lag before it: the next load starts at the watermark."""
    stands = mark("2026-01-02T00:00:00.000000")
    check_backwards(TABLE, stands, "2026-01-01T00:00:00.000000")
    with pytest.raises(BadDeclarationError, match="later than"):
        check_backwards(TABLE, stands, "2026-01-02T00:00:00.000001")


def test_what_the_next_load_would_read_is_said() -> None:
    """With the overlap that is declared; a reset makes it a full load."""
    stands = mark("2026-01-02T00:00:00.000000")
    overlapping = TABLE.model_copy(update={"overlap_seconds": 60})
    told = load_again(overlapping, stands, "2026-01-01T00:00:00.000000")
    assert told.startswith("the next load would read from 2026-01-01T00:00:00.000000 less 60 s of overlap;")
    assert "as it stands, it reads from 2026-01-02" in told
    assert "begins a new generation; as it stands, it reads from" in load_again(TABLE, stands, None)
    assert load_again(TABLE, mark(None), None).endswith("as it stands, it is a full load")
