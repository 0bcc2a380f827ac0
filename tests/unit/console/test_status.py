"""What is shown of a run whose rows we fetch ourselves."""

from dataclasses import replace

import pytest

from contracts.fields import EntityField
from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.console.commands.status import describe, show
from services.console.following import Followed, changes_between
from services.runtime.conservation import conserve
from services.runtime.ledger import Collection, Run, SegmentEntry, Step

RUN = Run(
    run_id="nyc_311-1",
    pipeline="nyc_311",
    mode=RunMode.INCREMENTAL,
    state=RunState.RUNNING,
    started_at="2025-02-23T06:00:00+00:00",
    planned=2,
    settled=1,
    collection=Collection(
        start="2025-02-19T00:00:00.000", end="2025-02-22T23:59:59.000", limit=3_000, expected_rows=3_000
    ),
)
MERGED = SegmentEntry(
    run_id="nyc_311-1",
    segment_id="000",
    step=Step.MERGED,
    counts=SegmentCounts(received=1_500, rows=1_490, quarantined=10, nulled=4),
    settlement=Settlement(merged=1_400, row_duplicates=90, quarantined=10),
    fetched=1_500,
)
PLANNED = SegmentEntry(run_id="nyc_311-1", segment_id="001", step=Step.PLANNED)


def followed(run: Run, *segments: SegmentEntry, columns: tuple[str, ...] = ()) -> Followed:
    """A run as ``look`` finds it."""
    nulled = sum(segment.counts.nulled for segment in segments)
    return Followed(run, conserve(run, segments), nulled=nulled, new_columns=columns)


def test_a_collecting_run_shows_what_it_covers_and_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Mode, range, limit, fetched rows against counted ones, and what was met on the way."""
    show(followed(RUN, MERGED, PLANNED, columns=(":@computed_region_x", "new_field")))
    out = capsys.readouterr().out
    assert out.startswith("run nyc_311-1  incremental  running  1 segments merged\n")
    for line in (
        "  range: 2025-02-19T00:00:00.000 to 2025-02-22T23:59:59.000\n",
        "  limit reached: 3,000 rows; the next run goes on exactly there\n",
        "  fetched: 1,500 of 3,000 rows that were counted when the run was planned (50%)\n",
        "  nulled: 4 bad values in good rows\n",
        "  new columns, kept in the raw objects only: :@computed_region_x, new_field\n",
        "Conservation (rows)",
        "balanced: every row is accounted for\n",
    ):
        assert line in out
    assert [hop in out for hop in ("fetch ", "validate ", "merge ", "plan ")] == [True, True, True, False]


def test_what_there_is_nothing_to_say_of_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A run without a limit, with no expected rows and no surprises has lines for neither."""
    quiet = replace(RUN, planned=0, settled=0, state=RunState.SUCCEEDED, collection=Collection(start="a", end="a"))
    show(followed(quiet))
    out = capsys.readouterr().out
    assert "  fetched: 0 rows\n" in out
    assert [word in out for word in ("limit", "nulled", "new columns")] == [False] * 3


def test_more_rows_than_counted_are_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows may be published between the count and the fetch."""
    few = replace(RUN, collection=Collection(start="a", end="b", expected_rows=1_000))
    show(followed(few, MERGED, PLANNED))
    assert (
        "  fetched: 1,500 of 1,000 rows that were counted when the run was planned (150%)\n" in capsys.readouterr().out
    )


def test_a_run_over_objects_shows_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Its table counts occurrences, from the plan's hop on."""
    scan = replace(RUN, pipeline="visit_events", mode=RunMode.SCAN, planned=0, settled=0, collection=None)
    show(followed(scan))
    out = capsys.readouterr().out
    assert "Conservation (occurrences)" in out
    assert "balanced: every occurrence is accounted for\n" in out
    assert [word in out for word in ("range", "fetched", "fetch ")] == [False] * 3


def test_machines_get_all_of_it() -> None:
    """The collection as the ledger has it, and beside it what the segments add up to."""
    told = describe(followed(RUN, MERGED, PLANNED, columns=("new_field",)))
    assert told["collection"]["expected_rows"] == 3_000
    assert (told["fetched"], told["nulled"], told["new_columns"]) == (1_500, 4, ["new_field"])
    assert [hop["name"] for hop in told["conservation"]] == ["fetch", "validate", "merge"]


def test_schema_changes_are_told_in_words() -> None:
    """What came, what became wider and what went; what stayed is not mentioned."""
    before = [
        EntityField(name=name, type=type_) for name, type_ in (("id", "int64"), ("qty", "int16"), ("old", "date"))
    ]
    found = [
        EntityField(name=name, type=type_) for name, type_ in (("id", "int64"), ("qty", "int32"), ("new", "string"))
    ]
    assert changes_between(before, found) == ["new added (string)", "qty changed: int16 to int32", "old dropped"]
    assert changes_between(found, found) == []
