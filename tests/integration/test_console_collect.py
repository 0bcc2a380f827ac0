"""The operator's commands over a pipeline whose rows we fetch ourselves.

No service runs here: the tests put objects, ledger entries and heads where services would have put them, answer in the
planner's place, and read from the queues what a command has sent.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from contracts.catalog import MESSAGES
from contracts.checkpoints import RestoreCheckpoint
from contracts.envelope import Payload, open_message
from contracts.fetching import FetchSegment, KeyRange
from contracts.pipelines import FetchedName
from contracts.plans import PlanPreview, PreviewedSegment
from contracts.runs import CollectPayload, CollectResponse, ErrorResponse, PlanRun, RunMode, RunState
from contracts.segments import Occurrence, SegmentCounts, Settlement, segment_id_of
from services.console.commands.run import response_of
from services.console.following import look
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.checkpoints import Commit
from services.runtime.ledger import Collection, Run, ScanCounts
from tests.cli_support import done, tidegate
from tests.emulator_support import Stack, new_stack, provision_now
from tests.integration.console_support import NOON, in_session

P = "nyc_311"
MARK = "nyc_311#service_requests"
DAY = "2025-02-21"
CURSOR, UNTIL = "2025-02-21T23:59:59.000", "2025-02-19T18:00:00.000"
JANUARY = f"processed/year=2025/month=01/data_{DAY}.parquet"
FEBRUARY = f"processed/year=2025/month=02/data_{DAY}.parquet"
UNRECORDED = "processed/year=2025/month=02/data_2025-02-22.parquet"


@contextmanager
def own_stack(emulator: Emulator) -> Iterator[Stack]:
    """A provisioned stack without services, that the environment points at."""
    stack = new_stack(emulator)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environ.items():
            patch.setenv(name, value)
        provision_now(stack)
        in_session(purge)
        yield stack


async def purge(session: Session) -> None:
    """Empty the queues: with nobody to read them, what buckets announce of themselves would stay."""
    for name in session.queue_names():
        url = (await session.clients.sqs.get_queue_url(QueueName=session.settings.resource(name)))["QueueUrl"]
        await session.clients.sqs.purge_queue(QueueUrl=url)


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Iterator[Stack]:
    """One stack for all tests that leave alone what others look at."""
    with own_stack(emulator) as stack:
        in_session(fill)
        yield stack


def parquet(*rows: tuple[str, str]) -> bytes:
    """A partition file of (key, moment)."""
    created = [datetime.fromisoformat(moment) for _, moment in rows]
    frame = pl.DataFrame({"unique_key": [key for key, _ in rows], "created_date": created})
    sink = io.BytesIO()
    frame.with_columns(pl.lit("Open").alias("status")).write_parquet(sink)
    return sink.getvalue()


async def commit(session: Session, key: str, body: bytes, rows: int, version: int = 1) -> None:
    """Put a file and record its commit, as a merger does."""
    bucket = session.settings.resource("processed")
    info = await session.objects.put(bucket, key, body)
    await session.checkpoints.register(P, f"{bucket}/{key}")
    entry = Commit(
        version=version,
        kind="merge",
        commit_id=uuid4().hex,
        manifest=f"manifests/{version}.json",
        etag=info.etag,
        object_version=info.version_id,
        total_rows=rows,
        new_rows=rows,
        committed_at=NOON.isoformat(),
        max_cursor=CURSOR,
    )
    await session.checkpoints.record(f"{bucket}/{key}", entry)


async def fill(session: Session) -> None:
    """A tree of three files, one of them not recorded yet, with what else may lie in its bucket."""
    await commit(session, JANUARY, parquet(("1", "2025-01-31T23:59:59.999"), ("2", "2025-01-03T00:00:00")), 2)
    await commit(session, FEBRUARY, parquet(("3", "2025-02-01T00:00:00")), 1)
    bucket = session.settings.resource("processed")
    await session.objects.put(bucket, UNRECORDED, parquet(("4", "2025-02-02T00:00:00")))
    await session.objects.put(bucket, "pipeline_state/last_run_timestamp.json", b"{}")
    await session.objects.put(bucket, "processed/_temporary/notes.txt", b"somebody's")
    await session.watermarks.advance(MARK, CURSOR, expected_version=0, run_id="first", complete_until=UNTIL)


def send(queue: str, payload: Payload) -> None:
    """Put a command into a queue."""
    in_session(lambda session: session.publisher.send(queue, [payload], run_id="r"))


def received(queue: str) -> Payload:
    """Take the one message that a command has left in a queue."""

    async def take(session: Session) -> Payload:
        sqs = session.clients.sqs
        url = (await sqs.get_queue_url(QueueName=session.settings.resource(queue)))["QueueUrl"]
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
        (message,) = answer["Messages"]
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return open_message(message["Body"], MESSAGES)[1]

    return in_session(take)


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


@pytest.mark.usefixtures("stack")
def test_export_keeps_the_folders_of_the_tree(tmp_path: Path) -> None:
    """Every file that the template makes, its commit recorded or not; no mirror, and nothing that others put there."""
    files = done("export", P, tmp_path / "out", "--json").json["files"]
    assert sorted(files) == sorted(str(tmp_path / "out" / key) for key in (JANUARY, FEBRUARY, UNRECORDED))
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {JANUARY, FEBRUARY, UNRECORDED}
    assert pl.read_parquet(tmp_path / "out" / JANUARY)["unique_key"].to_list() == ["1", "2"]


@pytest.mark.usefixtures("stack")
def test_queries_see_the_whole_tree() -> None:
    """Named and ad hoc; times stay as the source gave them, and the folders add no columns."""
    assert done("query", P, "duplicates", "--json").json == []
    assert done("query", P, "by_month", "--json").json == [
        {"month": "2025-01", "requests": 2},
        {"month": "2025-02", "requests": 2},
    ]
    (newest,) = done("query", P, "--sql", "SELECT * FROM service_requests WHERE unique_key = '1'", "--json").json
    assert newest == {"unique_key": "1", "created_date": "2025-01-31 23:59:59.999000", "status": "Open"}


def test_a_tree_is_whole_or_refused(emulator: Emulator, tmp_path: Path) -> None:
    """A file that was committed and is gone, or is not Parquet any more, is named; no answer is given without it."""
    with own_stack(emulator):
        assert "has no output yet" in tidegate("export", P, tmp_path).err

        async def damage(session: Session) -> None:
            await commit(session, JANUARY, b"PAR1 but no more", 2)
            await commit(session, FEBRUARY, parquet(("3", "2025-02-01T00:00:00")), 1)

        in_session(damage)
        broken = tidegate("query", P, "duplicates")
        assert broken.code == 1
        assert f"{JANUARY} cannot be read" in broken.err

        async def lose(session: Session) -> None:
            await session.objects.delete(session.settings.resource("processed"), JANUARY)

        in_session(lose)
        lost = tidegate("export", P, tmp_path)
        assert lost.code == 1
        assert f"{JANUARY} is gone, though version 1 was committed" in lost.err


@pytest.mark.usefixtures("stack")
def test_partition_files_are_listed_with_their_versions() -> None:
    """Without a key every recorded file with its head; with one its own history."""
    listed = done("checkpoint", "versions", P, "--json").json
    assert [(head["checkpoint"].split("/", 1)[1], head["version"], head["total_rows"]) for head in listed] == [
        (JANUARY, 1, 2),
        (FEBRUARY, 1, 1),
    ]
    shown = done("checkpoint", "versions", P).out
    assert "2 objects of nyc_311" in shown
    assert JANUARY in shown
    assert [c["version"] for c in done("checkpoint", "versions", P, "--key", JANUARY, "--json").json] == [1]


def test_a_restore_names_one_file_of_the_tree(stack: Stack) -> None:
    """Its rows belong to the whole table's scope; a file that nobody committed is wrong usage."""
    restore = ("checkpoint", "restore", P)
    ended = tidegate(*restore, 0, "--key", JANUARY, "--timeout", "0.2")
    assert ended.code == 1
    assert "the merger has not restored it" in ended.err
    command = received("merge-segments")
    assert isinstance(command, RestoreCheckpoint)
    assert (command.scope, command.destination.key, command.version) == (P, JANUARY, 0)
    assert command.destination.bucket == stack.resource("processed")
    for version, key, expected in ((2, JANUARY, "has no version 2; it has [1]"), (0, UNRECORDED, "has no commits")):
        wrong = tidegate(*restore, version, "--key", key)
        assert wrong.code == 2
        assert expected in wrong.err


def test_a_watermark_is_shown_and_set_back(emulator: Emulator) -> None:
    """With what it holds complete. A rewind keeps its literal form; a dry run only says what would be read."""
    with own_stack(emulator):
        assert tidegate("watermark", "rewind", P, "--to", "2025-02-10T00:00:00").code == 1
        in_session(fill)
        (mark,) = done("watermark", "list", "--json").json
        assert (mark["cursor"], mark["complete_until"]) == (CURSOR, UNTIL)
        assert UNTIL in done("watermark", "list").out
        assert f"{MARK}: {CURSOR}, complete until {UNTIL} (version 1, run first" in done("watermark", "show", P).out

        dry = done("watermark", "rewind", P, "--to", "2025-02-10T00:00:00", "--dry-run").out
        assert "would start at 2025-02-08T00:00:00.000" in dry
        assert f"as it stands, it starts at {UNTIL}" in dry
        assert "the last 365 days" in done("watermark", "reset", P, "--dry-run").out
        assert done("watermark", "show", P, "--json").json == mark

        assert tidegate("watermark", "rewind", P, "--to", "2025-02-21T18:00:00.001").code == 2  # past what is complete
        done("watermark", "rewind", P, "--to", "2025-02-10T00:00:00")
        rewound = done("watermark", "show", P, "--json").json
        assert (rewound["cursor"], rewound["complete_until"], rewound["run_id"]) == (
            "2025-02-10T00:00:00",
            None,
            "operator",
        )
        assert done("watermark", "reset", P).out == f"{MARK}: 2025-02-10T00:00:00 -> reset\n"
        assert done("watermark", "show", P, "--json").json["cursor"] is None

        async def mirror(session: Session) -> bool:
            key = "pipeline_state/last_run_timestamp.json"
            return await session.objects.head(session.settings.resource("processed"), key) is not None

        assert in_session(mirror)


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


def raw_object(run_id: str) -> Occurrence:
    """The raw object of a run's only segment."""
    name = FetchedName(run_date=DAY, pipeline=P, run_id=run_id, segment_id="000")
    return Occurrence(bucket="raw", key=name.key("raw/"), version_id=f"v-{run_id}")


async def quarantine(session: Session, run_id: str, segment_id: str, at: Occurrence, lines: dict[int, str]) -> None:
    """What a validator writes of bad rows, by line."""
    entries = [
        {
            "occurrence": at.model_dump(mode="json"),
            "line": line,
            "raw": raw,
            "reason": "invalid-record",
            "errors": [{"type": "missing", "loc": ["status"], "msg": "Field required"}],
            "run_id": run_id,
            "segment_id": segment_id,
        }
        for line, raw in lines.items()
    ]
    body = "\n".join(map(json.dumps, entries)).encode()
    await session.objects.put(session.settings.resource("quarantine"), f"{P}/{run_id}/{segment_id}.ndjson", body)


async def replayed(session: Session, run_id: str, at: Occurrence) -> None:
    """A replay of one raw object that has ended."""
    run = Run(run_id, P, RunMode.REPLAY, RunState.PLANNING, session.clock.now().isoformat())
    await session.ledger.open_run(run)
    settlement = Settlement(merged=1, quarantined=1)
    await session.ledger.segment_merged(run_id, segment_id_of([at]), settlement, location="v/s", version=None)


def test_quarantined_rows_are_listed_shown_and_replayed(emulator: Emulator) -> None:
    """A row that two runs read is one record of two objects, and both are replayed; then the replay's word counts."""
    one, two = raw_object("run-1"), raw_object("run-2")
    bad, cured = '{"unique_key": "7"}', '{"unique_key": "8", "note": "[not markup]"}'
    with own_stack(emulator):

        async def judge(session: Session) -> None:
            await quarantine(session, "run-1", "000", one, {3: bad, 5: cured})
            await quarantine(session, "run-2", "000", two, {1: bad})

        in_session(judge)
        (group,) = done("quarantine", "list", P, "--json").json
        assert (group["signature"], group["records"]) == ("invalid-record status:missing", 2)
        shown = done("quarantine", "show", P, one.key).out
        assert f"s3://raw/{one.key}  line 3  version v-run-1\n" in shown
        assert f"  {cured}\n" in shown
        assert ", read 2 times" in done("quarantine", "show", P, "invalid-record").out
        assert len(done("quarantine", "show", P, "invalid-record", "--json").json) == 3

        ended = tidegate("quarantine", "replay", P, "--timeout", "0.2")
        assert ended.code == 1
        assert "was not picked up by a planner" in ended.err
        request = received("plan-requests")
        assert isinstance(request, PlanRun)
        assert (request.mode, request.occurrences) == (RunMode.REPLAY, [one, two])

        async def judge_again(session: Session) -> None:
            await quarantine(session, request.run_id, segment_id_of([one]), one, {3: bad})
            await replayed(session, request.run_id, one)

        in_session(judge_again)
        left = done("quarantine", "show", P, "invalid-record", "--json").json
        assert [(entry["run_id"], entry["raw"]) for entry in left] == [(request.run_id, bad), ("run-2", bad)]
