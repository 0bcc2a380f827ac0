"""What is shown and answered of a chunked run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts.runs import RunMode, RunState
from services.console.commands.chunk_status import Pace, show_chunks
from services.console.commands.status import describe, show, state_of
from services.console.following import Followed
from services.runtime.chunking.conservation import conserve_chunks
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.ledger import Run, ScanCounts
from services.runtime.responses import respond_chunks

START = datetime(2026, 1, 1, 3, tzinfo=UTC)
RUN = Run(
    run_id="report-1",
    pipeline="conflict_report",
    mode=RunMode.CHUNKS,
    state=RunState.RUNNING,
    started_at=START.isoformat(),
    planned=3,
    settled=1,
    scan=ScanCounts(listed=300, dispatched=300),
)


def at(seconds: float) -> str:
    """A moment after the run's opening."""
    return (START + timedelta(seconds=seconds)).isoformat()


def done(chunk_id: str, begun: float, ended: float, *, rows: int = 100, gone: int = 0) -> ChunkEntry:
    """A chunk that was worked on between two moments, in seconds after the run's opening."""
    return ChunkEntry(
        "report-1",
        chunk_id,
        ChunkState.DONE,
        rows,
        updated=rows - gone,
        gone=gone,
        worker="w1",
        started_at=at(begun),
        updated_at=at(ended),
    )


def planned(chunk_id: str, *, begun: float | None = None, worker: str | None = None) -> ChunkEntry:
    """A chunk that is still to be done."""
    started = None if begun is None else at(begun)
    return ChunkEntry("report-1", chunk_id, ChunkState.PLANNED, 100, worker=worker, started_at=started)


def failed(chunk_id: str, reason: str) -> ChunkEntry:
    """A chunk that was given up."""
    return ChunkEntry("report-1", chunk_id, ChunkState.FAILED, 100, worker="w2", started_at=at(1), reason=reason)


def followed(*chunks: ChunkEntry, **changes: object) -> Followed:
    """The run with these chunks, as ``look`` finds it; its counts are those of the chunks."""
    counts = {state: sum(chunk.state is state for chunk in chunks) for state in (ChunkState.DONE, ChunkState.FAILED)}
    run = replace(RUN, settled=counts[ChunkState.DONE], failed=counts[ChunkState.FAILED])
    run = replace(run, **changes)  # type: ignore[arg-type]
    return Followed(run, conserve_chunks(run, chunks), chunks=chunks)


def test_a_run_under_way_shows_its_pace_and_who_works_on_what(capsys: pytest.CaptureFixture[str]) -> None:
    """Chunks and rows done, rows per second, seconds to go, the worker of each chunk under way, and the table."""
    now = followed(done("0", 1, 3, gone=2), planned("1", begun=2, worker="host-7"), planned("2"))
    show(now)
    out = capsys.readouterr().out
    assert out.startswith("run report-1  chunks  running  1/3 chunks\n  rows: 100 of 300, 50 rows/s, 4 s to go\n")
    assert "Begun and not done" in out
    assert "host-7" in out
    assert "Conservation (rows)" in out
    assert out.endswith("balanced: every row is accounted for\n")
    assert "Failed chunks" not in out


def test_what_a_chunk_takes_is_counted_from_when_it_was_begun(capsys: pytest.CaptureFixture[str]) -> None:
    """As of now."""
    show_chunks(followed(planned("0", begun=2, worker="w")), START + timedelta(seconds=62))
    [line] = [line for line in capsys.readouterr().out.splitlines() if "│ 0 " in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["0", "100", "w", "60 s"]


def test_failed_chunks_are_named_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the run has ended; then nothing is under way any more."""
    show(
        followed(
            done("0", 1, 2),
            failed("1", "[x] division by zero"),
            planned("2", begun=1),
            state=RunState.FAILED,
            reason="1 of 3 chunks failed",
        )
    )
    out = capsys.readouterr().out
    assert out.startswith("run report-1  chunks  failed  1/3 chunks, 1 failed\n  reason: 1 of 3 chunks failed\n")
    assert "  what is left: tidegate run resume report-1\n" in out
    assert "[x] division by zero" in out
    assert [words in out for words in ("Begun and not done", "to go")] == [False] * 2


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "running"),
        ({"paused": True}, "paused"),
        ({"state": RunState.CANCELLED, "paused": True}, "cancelled"),
        ({"state": RunState.SUCCEEDED}, "succeeded"),
        ({"reason": "no space left"}, "blocked"),
    ],
)
def test_states_of_a_chunked_run(changes: dict[str, object], state: str) -> None:
    """A paused run that was cancelled is cancelled."""
    assert state_of(followed(done("0", 1, 2), planned("1"), **changes)) == state


def test_the_pace_is_that_of_the_time_in_which_there_was_work() -> None:
    """Two chunks side by side count once, and a pause between chunks not at all."""
    pace = Pace.of(followed(done("0", 0, 4), done("1", 2, 5), done("2", 100, 105), planned("3")))
    assert (pace.rows_done, pace.rows_per_s) == (300, 30.0)
    assert pace.eta_s == pytest.approx(100 / 30)
    assert Pace.of(followed(done("0", 0, 4), planned("1"), paused=True)).eta_s is None
    assert Pace.of(followed(planned("1"))).rows_per_s is None
    inside = Pace.of(followed(done("0", 0, 10), done("1", 2, 3)))
    assert inside.rows_per_s == 20.0


def test_before_there_is_a_plan_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """No rows of nothing."""
    show(followed(planned=None, state=RunState.PLANNING, scan=ScanCounts()))
    assert "  the plan is being made\n" in capsys.readouterr().out


def test_chunks_that_were_split_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """They are done, though in parts."""
    show(followed(replace(done("0", 1, 2), parts=2), done("1", 1, 2)))
    assert "  chunks that were done in two parts: 1\n" in capsys.readouterr().out


def test_machines_get_every_chunk() -> None:
    """With the pace, and the conservation table that every run has."""
    told = describe(followed(done("0", 1, 3), planned("1"), planned("2")))
    assert [told[name] for name in ("rows", "rows_done", "rows_per_s", "eta_s")] == [300, 100, 50.0, 4.0]
    assert [chunk["state"] for chunk in told["chunks"]] == ["done", "planned", "planned"]
    assert [hop["name"] for hop in told["conservation"]] == ["plan", "update"]


def test_the_response_says_what_was_done() -> None:
    """200 with rows and seconds; 500 with the reason and how many chunks failed."""
    end = at(12.5)
    well = followed(*(done(str(n), n, n + 1) for n in range(3)), state=RunState.SUCCEEDED, finished_at=end)
    assert respond_chunks(well.run, well.table).model_dump(by_alias=True) == {
        "statusCode": 200,
        "body": {
            "message": "Chunked run successful",
            "run_id": "report-1",
            "chunks": 3,
            "chunks_failed": 0,
            "rows": 300,
            "seconds": 12.5,
        },
    }
    badly = followed(done("0", 1, 2), failed("1", "x"), state=RunState.FAILED, reason="1 of 2 chunks failed: 1: x")
    answer = respond_chunks(badly.run, badly.table)
    assert (answer.status_code, answer.body.message, answer.body.chunks_failed, answer.body.rows) == (
        *(500, "1 of 2 chunks failed: 1: x", 1, 100),
    )
    nothing = followed(planned=0, scan=ScanCounts(), state=RunState.SUCCEEDED)
    assert respond_chunks(nothing.run, nothing.table).body.message == "No rows to work on"
