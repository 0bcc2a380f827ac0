"""The operator's commands over chunked runs, on a ledger that was filled by hand."""

from collections.abc import Iterator

import pytest

from contracts.chunks import ChunkOutcome, PlannedChunk
from contracts.envelope import open_message
from contracts.runs import PlanRun, RunMode, RunState
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.ledger import Run, ScanCounts
from tests.cli_support import done, tidegate
from tests.emulator_support import Stack, new_stack, provision_now
from tests.integration.console_support import in_session

JOB = "conflict_report"
RUNNING, ENDED, FAILED, SCAN = "report-1", "report-2", "report-3", "scan-1"
REASON = "1 of 2 chunks failed: 1: division by zero"


@pytest.fixture(scope="module")
def report(emulator: Emulator) -> Iterator[Stack]:
    """A stack with a chunked run under way, one that is done, one of which a chunk failed, and a scan."""
    stack = new_stack(emulator)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environ, "PAYMENTS_API_URL": "http://127.0.0.1:1"}.items():
            patch.setenv(name, value)
        provision_now(stack)
        in_session(_fill)
        yield stack


pytestmark = pytest.mark.usefixtures("report")


async def _fill(session: Session) -> None:
    for run_id in (ENDED, FAILED, RUNNING):
        await _open(session, run_id, JOB, RunMode.CHUNKS)
        await session.chunks.plan_chunks(run_id, [PlannedChunk(chunk_id=each, rows=100, keys=9) for each in "01"])
        counts = ScanCounts(listed=200, dispatched=200)
        await session.ledger.start_run(run_id, planned=2, scan=counts, frontier=None)
        for chunk in "01":
            await session.chunks.chunk_started(run_id, chunk, "host-1/lane-1")
        await session.chunks.chunk_done(run_id, "0", ChunkOutcome(chunk_id="0", run_id=run_id, rows=100))
    await session.chunks.chunk_done(ENDED, "1", ChunkOutcome(chunk_id="1", run_id=ENDED, rows=99), gone=1)
    await session.ledger.finish_run(ENDED, RunState.SUCCEEDED)
    await session.chunks.chunk_failed(FAILED, "1", "division by zero")
    await session.ledger.finish_run(FAILED, RunState.FAILED, reason=REASON)
    await _open(session, SCAN, "visit_events", RunMode.SCAN)


async def _open(session: Session, run_id: str, pipeline: str, mode: RunMode) -> None:
    started = session.clock.now().isoformat()
    await session.ledger.open_run(Run(run_id, pipeline, mode, RunState.PLANNING, started))


async def _requests(session: Session) -> list[PlanRun]:
    """Everything that was sent to the planner since the last look."""
    name = session.settings.resource("plan-requests")
    url = (await session.clients.sqs.get_queue_url(QueueName=name))["QueueUrl"]
    found = []
    while messages := (await session.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
        for message in messages:
            payload = open_message(message["Body"], {PlanRun.kind(): PlanRun})[1]
            assert isinstance(payload, PlanRun)
            found.append(payload)
            await session.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_the_list_of_runs_counts_chunks() -> None:
    """Beside the segments of the others."""
    out = done("status").out
    assert all(text in out for text in ("1/2 chunks", "2/2 chunks", "1/2 chunks, 1 failed"))


def test_a_run_is_shown_with_its_chunks() -> None:
    """Who works on what while it goes on; afterwards what failed, and that rows which are gone are accounted for."""
    assert "host-1/lane-1" in done("status", RUNNING).out
    assert "division by zero" in done("status", FAILED).out
    told = done("status", ENDED, "--json").json
    assert (told["rows_done"], told["balanced"], told["settled"], told["eta_s"]) == (200, True, 2, None)
    assert [(chunk["chunk_id"], chunk["updated"], chunk["gone"]) for chunk in told["chunks"]] == [
        ("0", 100, 0),
        ("1", 99, 1),
    ]


def test_waiting_shows_chunks_and_rows() -> None:
    """A run that has failed ends the wait with exit code 1 and its reason."""
    ended = tidegate("wait", FAILED)
    assert (ended.code, ended.err.splitlines()[-1]) == (1, f"error: run {FAILED} failed: {REASON}")
    waited = tidegate("wait", RUNNING, "--timeout", "0.1")
    assert waited.code == 1
    assert f"run {RUNNING}: 1 of 2 chunks, 100 of 200 rows" in waited.err


def test_a_job_is_run_and_planned_by_its_name() -> None:
    """The planner is asked with the job's own payload; a mistake in it is one line."""
    run_id = done("run", JOB, "--payload", '{"first_day": "2026-01-01", "target_rows": 5}', "--json").json["run_id"]
    preview = tidegate("plan", JOB, "--timeout", "0.1")
    assert preview.code == 1
    asked = in_session(_requests)
    assert [(each.pipeline, each.dry_run, each.resume) for each in asked] == [(JOB, False, False), (JOB, True, False)]
    assert (asked[0].run_id, str(asked[0].chunk.first_day), asked[0].chunk.target_rows) == (run_id, "2026-01-01", 5)
    wrong = tidegate("run", JOB, "--payload", '{"target_rows": 0}')
    assert (wrong.code, wrong.err.startswith("error: --payload: target_rows: ")) == (2, True)
    assert tidegate("run", JOB, "visits").err == f"error: {JOB} has no entities to choose from, such as 'visits'\n"


def test_a_run_is_paused_resumed_and_cancelled() -> None:
    """A paused run is no work that is waited for; the planner lets it go on; a cancelled one has ended."""

    async def opened(session: Session) -> None:
        await _open(session, "report-4", JOB, RunMode.CHUNKS)

    in_session(opened)
    in_session(_requests)
    assert done("run", "pause", "report-4").out.startswith("run report-4 is paused: chunks under way are finished")
    assert " paused " in done("status", "report-4").out.replace("\n", " ")
    assert tidegate("wait", "report-4").err.splitlines()[-1] == (
        "error: run report-4 is paused; `tidegate run resume report-4` lets it go on"
    )
    assert done("run", "resume", "report-4", "--json").json == {"run_id": "report-4", "asked": "resume"}
    assert [(each.run_id, each.resume) for each in in_session(_requests)] == [("report-4", True)]
    slow = tidegate("run", "resume", "report-4", "--wait", "--timeout", "0.1")
    assert "run report-4 was not picked up by a planner after 0.1 s" in slow.err
    in_session(_requests)
    done("run", "cancel", "report-4")
    assert tidegate("wait", "report-4").err.endswith("error: run report-4 cancelled: cancelled by an operator\n")


def test_only_runs_that_are_under_way_are_work_that_is_waited_for() -> None:
    """Chunks that are still to be done count, unless their run is paused."""
    in_session(_requests)
    assert tidegate("wait", "--idle", "--timeout", "0.1").err.endswith("1 chunks\n")
    done("run", "pause", RUNNING)
    assert not tidegate("wait", "--idle", "--timeout", "0.1").err.endswith("chunks\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("run", "pause", ENDED), 1, f"run {ENDED} has succeeded already: there is nothing to pause"),
        (("run", "resume", ENDED), 1, f"run {ENDED} has succeeded already: there is nothing to resume"),
        (("run", "cancel", FAILED), 1, f"run {FAILED} has failed already: there is nothing to cancel"),
        (("run", "pause", SCAN), 2, f"run {SCAN} is not a chunked run: it cannot be held; it ends by itself"),
        (("run", "cancel", "x"), 1, "there is no run 'x'; `tidegate status` lists them"),
        (("run", "pause"), 2, "`tidegate run pause` takes one run"),
        (("run", "cancel", "x", "--wait"), 2, "`tidegate run cancel` takes neither --wait nor --payload"),
        (("query", JOB), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (("export", JOB, "out"), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (("catalog", JOB), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (("watermark", "show", JOB), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (
            ("watermark", "rewind", JOB, "--to", "2026-01-01"),
            2,
            f"{JOB} is a chunked job: its rows are in its database",
        ),
        (("quarantine", "list", JOB), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (("checkpoint", "versions", JOB), 2, f"{JOB} is a chunked job: its rows are in its database"),
        (("put", JOB, "."), 2, f"{JOB} is a chunked job: its rows are in its database"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(arguments: tuple[str, ...], code: int, error: str) -> None:
    """It names what it refuses."""
    ended = tidegate(*arguments)
    assert (ended.code, ended.err) == (code, f"error: {error}\n")
