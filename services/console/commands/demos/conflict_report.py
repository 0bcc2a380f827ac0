"""The conflict report in chunks: by the planner and by a state machine, compared with the one statement, row for row.

The visits are read without any of the services' own code, before and after.
"""

from collections.abc import Mapping
from uuid import uuid4

from contracts.chunks import ChunkPayload, ProcessChunk
from contracts.runs import PlanRun, RunState
from services.console.commands.demos.proof import Line, prove, show_lines
from services.console.commands.status import show
from services.console.demo.home_care_report import Report, Row, conflicts, equal
from services.console.following import Followed, follow_run, look, wait_idle
from services.console.local.machines import run_execution
from services.console.output import emit_table, say
from services.console.session import PLAN_QUEUE, Session
from services.runtime.chunking.ports import Window
from services.runtime.chunking.window import window_of
from services.runtime.failures import PermanentError

JOB = "conflict_report"
MACHINE = "conflict-report-chunked"
CHUNK_QUEUE = "chunk-jobs"
SIZES = ChunkPayload(target_rows=600, max_rows=600)
"""So small that there are some twenty chunks, and one visitor's day is larger than a chunk should be."""
TIMEOUT_S = 120.0


async def show_conflict_report(session: Session, report: Report) -> None:
    """Recompute the conflicts of the sample visits twice, in chunks, and prove what came of it.

    Raises:
        PermanentError: something is not as foreseen; the text says what.
    """
    started = session.clock.monotonic()
    window = window_of(report.job.job.window, SIZES, session.clock.now().date())
    before = await report.status()
    foreseen = await report.foreseen(window)
    run = await _by_the_planner(session)
    show(run)
    rows, after = await report.rows(), await report.status()
    recent = await report.completed_within(session.clock.monotonic() - started)
    lines = [
        *_compare("planner", foreseen, rows, run),
        Line("planner: rows still locked (sql/status.sql)", 0, after["locked"]),
        Line("planner: rows that were completed just now (sql/status_recent.sql)", len(foreseen), recent),
    ]
    statuses = [[status, before[status], after[status]] for status in after]
    emit_table("Visits by status (sql/status.sql)", ["status", "before", "after"], statuses)
    emit_table("Visits with a conflict", ["strongest rule", "visits"], conflicts(rows))
    lines += await _again(session, report, run)
    lines += await _by_the_machine(session, report, window, rows)
    show_lines("Demo: conflict report", lines)
    say(f"{len(rows):,} visits, twice in chunks, in {session.clock.monotonic() - started:.1f} s")
    prove(JOB, lines)


async def _by_the_planner(session: Session) -> Followed:
    run_id = f"{JOB}-demo-{uuid4().hex[:8]}"
    await session.publisher.send(PLAN_QUEUE, [PlanRun(pipeline=JOB, run_id=run_id, chunk=SIZES)], run_id=run_id)
    return _succeeded(await follow_run(session, run_id, TIMEOUT_S))


async def _again(session: Session, report: Report, run: Followed) -> list[Line]:
    """Every message of the finished run is delivered once more."""
    run_id, before = run.run.run_id, await report.versions()
    chunks = [ProcessChunk(pipeline=JOB, run_id=run_id, chunk_id=chunk.chunk_id) for chunk in run.chunks]
    await session.publisher.send(PLAN_QUEUE, [PlanRun(pipeline=JOB, run_id=run_id, chunk=SIZES)], run_id=run_id)
    await session.publisher.send(CHUNK_QUEUE, chunks, run_id=run_id)
    await wait_idle(session, TIMEOUT_S)
    after = await report.versions()
    written = sum(after[number] != version for number, version in before.items())
    return [Line("planner: the finished plan once more: rows written", 0, written)]


async def _by_the_machine(session: Session, report: Report, window: Window, before: Mapping[int, Row]) -> list[Line]:
    """Some visits are put off, and Step Functions has the report made anew."""
    postponed = await report.postpone()
    foreseen = await report.foreseen(window)
    sizes = SIZES.model_dump(mode="json", exclude_none=True)
    ended = await run_execution(
        session.clients, session.settings.stack, MACHINE, {"chunk": sizes}, deadline_s=TIMEOUT_S
    )
    say(f"\nstate machine {MACHINE}: {ended['status']}, {postponed:,} visits were put off before")
    if ended["status"] != "SUCCEEDED":
        raise PermanentError(f"demo: {MACHINE}: {ended.get('error')}: {ended.get('cause')}")
    run = _succeeded(await look(session, ended["executionArn"].rpartition(":")[2]))
    show(run)
    rows = await report.rows()
    changed = [sum(each[number] != row for number, row in before.items()) for each in (foreseen, rows)]
    return [
        *_compare("state machine", foreseen, rows, run),
        Line("state machine: rows that have changed", changed[0], changed[1]),
    ]


def _compare(what: str, foreseen: Mapping[int, Row], rows: Mapping[int, Row], run: Followed) -> list[Line]:
    return [
        Line(f"{what}: rows equal to the one statement's in every column", len(foreseen), equal(foreseen, rows)),
        Line(f"{what}: rows updated, each once", len(foreseen), run.records),
        Line(f"{what}: chunks done", len(run.chunks), run.run.settled),
    ]


def _succeeded(followed: Followed) -> Followed:
    run = followed.run
    if run.state is not RunState.SUCCEEDED:
        raise PermanentError(f"demo: {JOB}: run {run.run_id} {run.state}: {run.reason}")
    return followed
