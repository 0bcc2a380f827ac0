"""The conservation table of a chunked run."""

from dataclasses import replace

from contracts.runs import RunMode, RunState
from services.runtime.chunking.conservation import conserve_chunks
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.conservation import Hop
from services.runtime.ledger import Run, ScanCounts

RUN = Run(
    run_id="r1",
    pipeline="report",
    mode=RunMode.CHUNKS,
    state=RunState.RUNNING,
    started_at="2026-01-01T00:00:00+00:00",
    planned=3,
    scan=ScanCounts(listed=300, dispatched=300),
)
OPEN = ChunkEntry("r1", "0", ChunkState.PLANNED, rows=100)
DONE = ChunkEntry("r1", "1", ChunkState.DONE, rows=100, updated=100)
FAILED = ChunkEntry("r1", "2", ChunkState.FAILED, rows=100, reason="why")


def test_rows_are_updated_gone_or_still_to_come() -> None:
    """While a run is under way every row of the plan is in one of three places; failed chunks are still to come."""
    table = conserve_chunks(RUN, [OPEN, replace(DONE, updated=98, gone=2), FAILED])
    assert table.hops == (
        Hop(name="plan", received=300, passed_on=300),
        Hop(name="update", received=300, passed_on=98, ignored=2, pending=200),
    )
    assert (table.problems, table.balanced, table.pending_segments, table.records) == ((), True, 2, 98)


def test_missing_rows_are_counted() -> None:
    """A chunk that is done with fewer rows than it had, none of them gone, does not balance."""
    table = conserve_chunks(RUN, [OPEN, replace(DONE, updated=98), FAILED])
    assert table.problems == ("update: 2 of 300 unaccounted for",)


def test_missing_chunks_are_counted() -> None:
    """Chunks that the ledger lost do not balance with the plan, once it is complete."""
    assert conserve_chunks(RUN, [OPEN, DONE]).problems == ("plan: 100 of 300 unaccounted for",)
    assert conserve_chunks(replace(RUN, planned=None), [OPEN]).balanced


def test_rows_that_joined_a_key_hide_no_others() -> None:
    """A job without a snapshot may update more than was planned; rows that another chunk lacks are missing still."""
    more = replace(DONE, updated=105)
    assert conserve_chunks(RUN, [OPEN, more, FAILED]).hops[1] == Hop(
        name="update", received=305, passed_on=105, pending=200
    )
    less = replace(DONE, chunk_id="2", updated=95)
    assert conserve_chunks(RUN, [OPEN, more, less]).problems == ("update: 5 of 305 unaccounted for",)


def test_nothing_balances() -> None:
    """A run without chunks has nothing to account for."""
    table = conserve_chunks(replace(RUN, planned=0, scan=ScanCounts()), [])
    assert (table.balanced, table.records, table.pending_segments) == (True, 0, 0)
