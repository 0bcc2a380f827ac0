"""Runs, dry runs and waiting, for a pipeline whose rows we fetch ourselves; the tests answer in the planner's place."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from contracts.fetching import FetchSegment, KeyRange
from contracts.plans import PlanPreview, PreviewedSegment
from contracts.runs import CollectPayload, CollectResponse, ErrorResponse, PlanRun, RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.console.commands.run import response_of
from services.console.following import look
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.ledger import Collection, Run, ScanCounts
from tests.cli_support import done, tidegate
from tests.emulator_support import Stack
from tests.integration.collect_support import CURSOR, DAY, MARK, UNTIL, P, own_stack, received, send
from tests.integration.console_support import in_session


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Iterator[Stack]:
    """One stack for all tests that leave alone what others look at."""
    with own_stack(emulator) as stack:
        yield stack


@contextmanager
def planner(answer: dict[str, Any]) -> Iterator[Future[PlanRun]]:
    """Answer one dry run with a preview, in the planner's place; the future is the request."""

    def work() -> PlanRun:
        request = received("plan-requests")
        assert isinstance(request, PlanRun)
        preview = PlanPreview.model_validate({"run_id": request.run_id, "pipeline": request.pipeline} | answer)
        key = f"plans/{request.run_id}/preview.json"
        body = preview.model_dump_json().encode()
        in_session(lambda session: session.objects.put(session.settings.resource("state"), key, body))
        return request

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


async def enter_run(session: Session, run_id: str, *, finished: bool) -> None:
    """A run of two segments, one merged and one still to be fetched unless the run is over."""
    run = Run(run_id, P, RunMode.INCREMENTAL, RunState.PLANNING, session.clock.now().isoformat())
    await session.ledger.open_run(run)
    segments = ["000"] if finished else ["000", "001"]
    await session.ledger.plan_segments(run_id, [(segment, 0) for segment in segments])
    covers = Collection(start=UNTIL, end=CURSOR, limit=40, expected_rows=40)
    await session.ledger.start_run(
        run_id, planned=len(segments), scan=ScanCounts(), frontier=CURSOR, watermark_version=1, collection=covers
    )
    counts = SegmentCounts(received=20, rows=19, quarantined=1, nulled=3)
    await session.ledger.segment_fetched(run_id, "000", 20, "raw/object")
    await session.ledger.segment_validated(run_id, "000", counts, "validated/segment")
    settlement = Settlement(merged=12, row_duplicates=7, quarantined=1)
    await session.ledger.segment_merged(run_id, "000", settlement, location="validated/segment", version=1)
    if finished:
        await session.ledger.finish_run(run_id, RunState.SUCCEEDED)
    await session.schemas.observe(MARK, ["new_field", f"of_{run_id}"], run_id=run_id)


def test_status_tells_a_collecting_run(emulator: Emulator) -> None:
    """Mode, range, limit and progress; what became null; and only the columns that this very run was first to meet."""
    with own_stack(emulator):
        in_session(lambda session: enter_run(session, "first", finished=True))
        in_session(lambda session: enter_run(session, "second", finished=False))
        out = done("status", "second").out
        for line in (
            "run second  incremental  running  1 segments merged",
            f"  range: {UNTIL} to {CURSOR}",
            "  limit reached: 40 rows",
            "  fetched: 20 of 40 rows that were counted when the run was planned (50%)",
            "  nulled: 3 bad values in good rows",
            "  new columns, kept in the raw objects only: of_second\n",
            "balanced: every row is accounted for",
        ):
            assert line in out
        listed = {run["run_id"]: run for run in done("status", "--json").json}
        assert listed["first"]["new_columns"] == ["new_field", "of_first"]
        assert listed["second"] == done("status", "second", "--json").json
        assert (listed["second"]["fetched"], listed["second"]["nulled"]) == (20, 3)
        assert "incremental" in done("status").out

        assert tidegate("wait", "--idle", "--timeout", "0.5").err.splitlines()[-1].endswith("1 segments to merge")


def test_an_ended_run_answers_as_a_collector_does(emulator: Emulator) -> None:
    """A success with what it brought, a failure in the error format."""
    with own_stack(emulator):

        async def answers(session: Session) -> tuple[Any, Any]:
            await enter_run(session, "good", finished=True)
            await enter_run(session, "bad", finished=False)
            await session.ledger.finish_run("bad", RunState.FAILED, reason="the source says no")
            good, bad = [await response_of(session, await look(session, run_id)) for run_id in ("good", "bad")]
            return good, bad

        good, bad = in_session(answers)
    assert isinstance(good, CollectResponse)
    assert (good.status_code, good.body.records, good.body.mode) == (200, 12, RunMode.INCREMENTAL)
    assert isinstance(bad, ErrorResponse)
    assert bad.message == "the source says no"


@pytest.mark.usefixtures("stack")
def test_a_run_sends_its_payload() -> None:
    """As the invocation payload of a collector; nothing else about the run is decided here."""
    given = {"force_initial_load": True, "max_records": 10_000, "initial_lookback_days": 730}
    answer = done("run", P, "--payload", json.dumps(given), "--json").json
    request = received("plan-requests")
    assert isinstance(request, PlanRun)
    assert (request.run_id, request.pipeline, request.dry_run) == (answer["run_id"], P, False)
    assert request.collect == CollectPayload(**given)
    done("run", P, "--json")
    request = received("plan-requests")
    assert isinstance(request, PlanRun)
    assert request.collect == CollectPayload()


@pytest.mark.usefixtures("stack")
def test_a_dry_run_shows_the_plan_it_is_given() -> None:
    """It asks with the payload, opens no run, and prints what the planner found."""
    answer = {
        "mode": "backfill",
        "segments": [PreviewedSegment(segment_id="000", label="2023-02-21 … 2023-03-01", rows=1_999)],
        "rows": 1_999,
        "requests": 1,
        "messages": 1,
        "start": "2023-02-21T00:00:00.000",
        "end": "2023-03-01T09:00:00.000",
    }
    with planner(answer) as asked:
        told = done("plan", P, "--payload", '{"force_initial_load": true, "initial_lookback_days": 730}', "--json")
    request = asked.result()
    assert (request.dry_run, request.collect.initial_lookback_days) == (True, 730)
    assert told.json["segments"] == [{"segment_id": "000", "label": "2023-02-21 … 2023-03-01", "rows": 1_999}]
    assert told.json["run_id"] == request.run_id
    with planner(answer):
        shown = done("plan", P).out
    assert "plan of nyc_311  backfill  1,999 rows in 1 segments" in shown
    assert "2023-02-21 … 2023-03-01" in shown
    assert tidegate("status", request.run_id).code == 1


@pytest.mark.usefixtures("stack")
def test_a_plan_that_cannot_be_made_is_a_failure() -> None:
    """With the planner's reason in one line; machines get the preview all the same. Objects are planned alike."""
    answer = {"mode": "scan", "segments": [], "rows": 0, "requests": 0, "messages": 0, "error": "no such bucket"}
    with planner(answer) as asked:
        ended = tidegate("plan", "visit_events", "--payload", '{"prefix": "in/"}', "--json")
    assert asked.result().payload.prefix == "in/"
    assert (ended.code, ended.json["error"]) == (1, "no such bucket")
    assert ended.err.splitlines()[-1] == "error: no plan for visit_events: no such bucket"


@pytest.mark.usefixtures("stack")
def test_a_dry_run_that_nobody_answers_says_so() -> None:
    """After the timeout, in one line."""
    ended = tidegate("plan", P, "--timeout", "0.3")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("error: no planner answered after 0.3 s")
    request = received("plan-requests")
    assert isinstance(request, PlanRun)
    assert request.dry_run


@pytest.mark.usefixtures("stack")
def test_idle_means_that_nothing_is_to_be_fetched() -> None:
    """A segment that waits for a fetcher is work like any other."""
    done("wait", "--idle", "--timeout", "30")
    wanted = KeyRange(start=UNTIL, to=CURSOR)
    send(
        "fetch-segments",
        FetchSegment(pipeline=P, run_id="r", segment_id="0", run_date=DAY, range=wanted, expected_rows=1),
    )
    waited = tidegate("wait", "--idle", "--timeout", "0.5")
    assert waited.code == 1
    assert waited.err.splitlines()[-1] == "error: not idle after 0.5 s: 1 messages, 0 segments to merge"
    assert isinstance(received("fetch-segments"), FetchSegment)
