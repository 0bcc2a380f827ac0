"""The conservation table in every state a run can be in."""

from dataclasses import replace

import pytest

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.conservation import Conservation, Hop, conserve
from services.runtime.ledger import Collection, Run, ScanCounts, SegmentEntry, Step

SCAN = Run(
    run_id="r",
    pipeline="p",
    mode=RunMode.SCAN,
    state=RunState.RUNNING,
    started_at="2026-01-01T00:00:00+00:00",
    planned=2,
    scan=ScanCounts(listed=30, dispatched=20, ignored=4, settled=6),
)
EVENTS = replace(SCAN, mode=RunMode.EVENTS, planned=None, scan=ScanCounts())
JUDGED = SegmentCounts(received=10, rows=5, quarantined=2, filtered=1, ignored=1, duplicates=1)
SETTLED = Settlement(merged=4, row_duplicates=1, quarantined=1, filtered=1, ignored=1, verdict_duplicates=1)


def planned(name: str, occurrences: int = 10) -> SegmentEntry:
    """A segment that nobody judged yet."""
    return SegmentEntry("r", name, Step.PLANNED, planned=occurrences)


def validated(name: str, counts: SegmentCounts = JUDGED) -> SegmentEntry:
    """A segment that waits for its merge."""
    return SegmentEntry("r", name, Step.VALIDATED, planned=10, counts=counts)


def merged(name: str, settlement: Settlement = SETTLED, counts: SegmentCounts = JUDGED) -> SegmentEntry:
    """A settled segment."""
    return SegmentEntry("r", name, Step.MERGED, planned=10, counts=counts, settlement=settlement)


def hop(table: Conservation, name: str) -> Hop:
    """One row of the table."""
    return next(hop for hop in table.hops if hop.name == name)


def test_a_plan_that_is_being_made_is_balanced() -> None:
    """Before anything is entered every count is zero."""
    table = conserve(replace(SCAN, state=RunState.PLANNING, planned=None, scan=ScanCounts()), [])
    assert (table.balanced, table.records, table.pending_segments) == (True, 0, 0)
    assert [h.name for h in table.hops] == ["plan", "validate", "merge"]


def test_planned_segments_are_pending() -> None:
    """What was dispatched and not judged yet is received and pending, not missing."""
    table = conserve(SCAN, [planned("a"), planned("b")])
    assert hop(table, "plan") == Hop("plan", received=30, passed_on=20, ignored=4, duplicates=6)
    assert hop(table, "validate") == Hop("validate", received=20, passed_on=0, pending=20)
    assert hop(table, "merge") == Hop("merge", received=0, passed_on=0)
    assert (table.problems, table.pending_segments) == ((), 2)


def test_validated_segments_show_what_the_validator_counted() -> None:
    """Their rows wait at the merge."""
    table = conserve(SCAN, [validated("a"), planned("b")])
    assert hop(table, "validate") == Hop(
        "validate", received=20, passed_on=5, quarantined=2, filtered=1, ignored=1, duplicates=1, pending=10
    )
    assert hop(table, "merge") == Hop("merge", received=5, passed_on=0, pending=5)
    assert (table.problems, table.pending_segments, table.records) == ((), 2, 0)


def test_merged_segments_show_what_was_settled() -> None:
    """A verdict that was settled before moves from its kind to the duplicates; rows likewise at the merge."""
    table = conserve(replace(SCAN, settled=2), [merged("a"), merged("b")])
    assert hop(table, "validate") == Hop(
        "validate", received=20, passed_on=10, quarantined=2, filtered=2, ignored=2, duplicates=4
    )
    assert hop(table, "merge") == Hop("merge", received=10, passed_on=8, duplicates=2)
    assert (table.problems, table.pending_segments, table.records) == ((), 0, 8)


def test_an_events_run_has_no_plan() -> None:
    """Nothing was listed for it: its table starts where notifications arrive, and it has no number of segments."""
    table = conserve(EVENTS, [merged("a"), validated("b")])
    assert [h.name for h in table.hops] == ["validate", "merge"]
    assert (table.balanced, table.pending_segments, table.records) == (True, 1, 4)
    assert conserve(EVENTS, []).balanced


def test_a_replay_has_a_plan() -> None:
    """What it was asked to read again is what it listed."""
    run = replace(SCAN, mode=RunMode.REPLAY, planned=1, scan=ScanCounts(listed=10, dispatched=10))
    assert [h.name for h in conserve(run, [planned("a")]).hops] == ["plan", "validate", "merge"]


def test_an_empty_scan_is_balanced() -> None:
    """Everything was settled before: no segment, no record, no problem."""
    table = conserve(replace(SCAN, planned=0, scan=ScanCounts(listed=7, ignored=1, settled=6)), [])
    assert (table.balanced, table.records, table.pending_segments) == (True, 0, 0)


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        (merged("b", SETTLED.model_copy(update={"merged": 3})), "merge: 1 of 10 unaccounted for"),
        (merged("b", SETTLED.model_copy(update={"merged": 5})), "merge: -1 of 10 unaccounted for"),
        (merged("b", SETTLED.model_copy(update={"quarantined": 0})), "validate: 1 of 20 unaccounted for"),
        (merged("b", SETTLED.model_copy(update={"verdict_duplicates": 0})), "validate: 1 of 20 unaccounted for"),
        (merged("b", counts=JUDGED.model_copy(update={"duplicates": 0})), "validate: 1 of 20 unaccounted for"),
    ],
)
def test_a_missing_occurrence_is_reported(lost: SegmentEntry, problem: str) -> None:
    """One occurrence too few, or one too many, at any hop names the hop and the number."""
    table = conserve(SCAN, [merged("a"), lost])
    assert table.problems == (problem,)
    assert not table.balanced


def test_a_missing_occurrence_of_an_events_run_is_reported() -> None:
    """Events need no plan to be held to their counts."""
    lost = merged("a", SETTLED.model_copy(update={"filtered": 0}))
    assert conserve(EVENTS, [lost]).problems == ("validate: 1 of 10 unaccounted for",)


def test_a_listing_that_does_not_add_up_is_reported() -> None:
    """The plan itself is a hop."""
    run = replace(SCAN, scan=replace(SCAN.scan, listed=31))
    assert conserve(run, [merged("a"), merged("b")]).problems == ("plan: 1 of 31 unaccounted for",)


def test_a_mismatch_between_hops_is_reported() -> None:
    """Each hop adds up by itself, but a segment that was dispatched never arrived."""
    assert conserve(SCAN, [merged("a")]).problems == ("plan passed on 20 but validate received 10",)
    three = [merged("a"), merged("b"), merged("c")]
    assert conserve(SCAN, three).problems == ("plan passed on 20 but validate received 30",)


def test_a_segment_that_is_being_cut_by_destination_is_no_mismatch() -> None:
    """Its parts are entered before it is judged itself: for a moment they count beside it, and nothing is wrong."""
    run = replace(SCAN, planned=1, scan=ScanCounts(listed=10, dispatched=10))
    part = SegmentCounts(received=4, rows=4)
    rest = SegmentCounts(received=6, rows=6)
    steps = [
        [planned("a", 10)],
        [planned("a", 10), planned("a-1", 4)],
        [planned("a", 10), validated("a-1", part)],
        [validated("a", rest), validated("a-1", part)],
        [merged("a", Settlement(merged=6), rest), merged("a-1", Settlement(merged=4), part)],
    ]
    assert [conserve(run, step).problems for step in steps] == [()] * 5
    assert conserve(run, [validated("a", rest)]).problems == ("plan passed on 10 but validate received 6",)


COLLECT = replace(
    SCAN,
    mode=RunMode.INCREMENTAL,
    planned=2,
    scan=ScanCounts(),
    collection=Collection(start="a", end="z", expected_rows=20),
)


def fetched(name: str, rows: int = 10) -> SegmentEntry:
    """A range whose raw object waits for the validator."""
    return SegmentEntry("r", name, Step.FETCHED, fetched=rows, raw_location=f"raw/{name}")


def test_a_collecting_run_starts_with_what_was_fetched() -> None:
    """Ranges have no number of rows before they are fetched, and nothing is missing meanwhile."""
    steps = [
        [planned("a", 0), planned("b", 0)],
        [fetched("a"), planned("b", 0)],
        [replace(validated("a"), planned=0, fetched=10), fetched("b")],
        [replace(merged("a"), planned=0, fetched=10), replace(merged("b"), planned=0, fetched=10)],
    ]
    tables = [conserve(COLLECT, step) for step in steps]
    assert [table.problems for table in tables] == [()] * 4
    assert [hop(table, "fetch").passed_on for table in tables] == [0, 10, 20, 20]
    assert [table.pending_segments for table in tables] == [2, 2, 2, 0]
    assert [h.name for h in tables[-1].hops] == ["fetch", "validate", "merge"]
    assert conserve(replace(COLLECT, planned=0), []).balanced


def test_rows_that_were_fetched_and_not_judged_are_missed() -> None:
    """The raw object had more rows than the validator accounts for."""
    segments = [replace(merged("a"), planned=0, fetched=11), replace(merged("b"), planned=0, fetched=10)]
    assert conserve(COLLECT, segments).problems == ("fetch passed on 21 but validate received 20",)


def test_a_replay_of_raw_objects_counts_their_rows() -> None:
    """It was planned by objects; once they are read again, rows are what must add up."""
    run = replace(SCAN, mode=RunMode.REPLAY, planned=1, scan=ScanCounts(listed=1, dispatched=1))
    steps = [[planned("a", 0)], [fetched("a")], [replace(merged("a"), planned=0, fetched=10)]]
    assert [conserve(run, step).problems for step in steps] == [()] * 3
    assert conserve(run, [replace(merged("a"), planned=0, fetched=11)]).problems
