"""Runs with a payload of their own, and pipelines whose checkpoint key is a template."""

import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.runs import ErrorResponse, RunMode, RunState
from services.console.commands.run import response_of
from services.console.following import look
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT
from tests.cli_support import done, tidegate
from tests.emulator_support import Stack
from tests.integration.console_support import NOON, event, in_session, name_of, put_events, working_stack

P = "visit_events"
FIELDS = {
    "statusCode",
    "checkpoint_path",
    "new_events_processed",
    "total_events",
    "events_failed",
    "last_processed_timestamp",
    "execution_time_ms",
    "run_id",
}


@pytest.fixture(scope="module")
def stack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all: each test has a source bucket and a checkpoint key of its own."""
    with working_stack(emulator, tmp_path_factory.mktemp("runs")) as stack:
        yield stack


def payload_of(stack: Stack, source: str, **more: str) -> dict[str, str]:
    """The invocation payload, as callers of an event-log checkpoint function send it."""
    return {
        "source_bucket": f"{stack.name}-{source}",
        "prefix": "in/",
        "checkpoint_bucket": stack.resource("checkpoints"),
        "checkpoint_key": f"checkpoints/{source}.parquet",
        **more,
    }


def run(payload: dict[str, str]) -> Any:
    """Run to the end; the response."""
    return done("run", P, "--payload", json.dumps(payload), "--wait", "--json", "--timeout", "60").json


def rows_of(payload: dict[str, str]) -> pl.DataFrame:
    """The checkpoint that the payload asked for."""

    async def get(session: Session) -> bytes:
        return (await session.objects.get(payload["checkpoint_bucket"], payload["checkpoint_key"])).body

    return pl.read_parquet(io.BytesIO(in_session(get)))


def test_a_payload_makes_the_checkpoint_it_names(stack: Stack, tmp_path: Path) -> None:
    """The response has the known fields; the pipeline's own checkpoint and watermark are left alone.

    Run again, nothing is new. What is bad is counted as failed, and only once.
    """
    payload = payload_of(stack, "other")
    documents = [event(n) for n in range(8)] + [event(8, ptid="bad id"), event(9, project_label="sandbox-x")]
    put_events(payload["source_bucket"], "in/", documents)
    answer = run(payload)
    assert answer.keys() == FIELDS
    assert answer["checkpoint_path"] == f"s3://{payload['checkpoint_bucket']}/checkpoints/other.parquet"
    assert (answer["statusCode"], answer["new_events_processed"], answer["total_events"]) == (200, 8, 8)
    assert answer["events_failed"] == 1
    assert datetime.fromisoformat(answer["last_processed_timestamp"]) == NOON + timedelta(minutes=7)
    assert answer["execution_time_ms"] > 0
    assert rows_of(payload)["ptid"].to_list() == [f"P{n:03d}" for n in range(8)]

    again = run(payload)
    assert (again["new_events_processed"], again["total_events"], again["events_failed"]) == (0, 8, 0)
    assert done("status", answer["run_id"], "--json").json["balanced"]
    assert "does not exist yet" in tidegate("export", P, tmp_path).err
    assert tidegate("watermark", "show", P).code == 1


def test_since_timestamp_keeps_strictly_newer_events_and_settles_no_other(stack: Stack) -> None:
    """An event at that very moment is left out; a later run without the filter merges what was left out."""
    payload = payload_of(stack, "since")
    put_events(payload["source_bucket"], "in/", [event(n) for n in range(6)])
    answer = run(payload | {"since_timestamp": (NOON + timedelta(minutes=3)).isoformat()})
    assert (answer["new_events_processed"], answer["total_events"]) == (2, 2)
    assert rows_of(payload)["ptid"].to_list() == ["P004", "P005"]
    filtered = {hop["name"]: hop for hop in done("status", answer["run_id"], "--json").json["conservation"]}
    assert (filtered["plan"]["passed_on"], filtered["validate"]["filtered"]) == (6, 4)

    answer = run(payload)
    assert (answer["new_events_processed"], answer["total_events"]) == (4, 6)
    assert rows_of(payload)["ptid"].to_list() == [f"P{n:03d}" for n in range(6)]


def test_a_checkpoint_of_its_own_can_be_restored(stack: Stack) -> None:
    """Undo by its key: the undone rows are merged again by the next run with the same payload."""
    payload = payload_of(stack, "undone")
    bucket = payload["source_bucket"]
    put_events(bucket, "in/", [event(n) for n in range(3)])
    run(payload)

    async def put_more(session: Session) -> None:
        await session.objects.put(bucket, f"in/{name_of(3)}", json.dumps(event(3)).encode())

    in_session(put_more)
    assert run(payload)["total_events"] == 4
    key = ("--key", payload["checkpoint_key"])
    assert "version 1 is current again, as version 3 (3 rows)" in done("checkpoint", "restore", P, 1, *key).out
    assert len(rows_of(payload)) == 3
    assert [v["kind"] for v in done("checkpoint", "versions", P, *key, "--json").json] == ["restore", "merge", "merge"]
    again = run(payload)
    assert (again["new_events_processed"], again["total_events"]) == (1, 4)
    assert rows_of(payload)["ptid"].to_list() == [f"P{n:03d}" for n in range(4)]
    assert tidegate("checkpoint", "restore", P, 9, *key).code == 2


def test_a_source_that_is_not_there_fails_the_run(stack: Stack) -> None:
    """With the known error format on standard output, and one line on standard error."""
    payload = payload_of(stack, "nowhere")
    ended = tidegate("run", P, "--payload", json.dumps(payload), "--wait", "--json", "--timeout", "60")
    assert ended.code == 1
    assert ended.json.keys() == {"statusCode", "error", "message", "details"}
    assert (ended.json["statusCode"], ended.json["error"]) == (500, "RunFailed")
    assert payload["source_bucket"] in ended.json["message"]
    assert ended.json["details"] == {"failed_files": [], "error_count": 0}
    assert "Traceback" not in ended.err


def test_a_failed_run_names_the_files_that_it_quarantined(stack: Stack) -> None:
    """Those of this run, not of another one."""

    async def fail(session: Session) -> Any:
        for run_id in ("failing", "another"):
            run = Run(run_id, P, RunMode.SCAN, RunState.PLANNING, NOON.isoformat())
            await session.ledger.open_run(run)
            lines = [{"occurrence": {"bucket": "raw", "key": f"in/{run_id}-{n}.json"}} for n in range(2)]
            body = "\n".join(map(json.dumps, lines)).encode()
            await session.objects.put(stack.resource("quarantine"), f"{P}/{run_id}/segment.ndjson", body)
        await session.ledger.finish_run("failing", RunState.FAILED, reason="access denied")
        return await response_of(session, await look(session, "failing"))

    answer = in_session(fail)
    assert isinstance(answer, ErrorResponse)
    assert answer.details.failed_files == ["s3://raw/in/failing-0.json", "s3://raw/in/failing-1.json"]
    assert (answer.message, answer.details.error_count) == ("access denied", 2)


def test_a_template_makes_one_checkpoint_for_each_study_and_datatype(emulator: Emulator, tmp_path: Path) -> None:
    """One run fills them all, and its ledger balances over the parts that its segments were cut into."""
    text = (PROJECT / "pipelines" / "visit_events.toml").read_text(encoding="utf-8")
    own, template = 'key = "checkpoints/events.parquet"', "checkpoints/{study}/{datatype}/events.parquet"
    assert own in text
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    limits = "\n[limits]\nobjects_per_segment = 5\n"
    (pipelines / "visit_events.toml").write_text(text.replace(own, f'key = "{template}"') + limits, encoding="utf-8")
    kinds = [("adrc", "form"), ("adrc", "dicom"), ("leads", "form"), ("a/b", "form")]
    documents = [event(n, study=kinds[n % 4][0], datatype=kinds[n % 4][1]) for n in range(12)]
    with working_stack(emulator, tmp_path, TIDEGATE_PIPELINES=str(pipelines)) as stack:
        put_events(f"{stack.name}-source", "", [*documents, event(12, action="nothing")])
        payload = {"source_bucket": f"{stack.name}-source", "prefix": ""}
        answer = run(payload)
        assert (answer["new_events_processed"], answer["total_events"], answer["events_failed"]) == (12, 12, 1)
        assert datetime.fromisoformat(answer["last_processed_timestamp"]) == NOON + timedelta(minutes=11)
        status = done("status", answer["run_id"], "--json").json
        assert (status["state"], status["balanced"], status["pending_segments"]) == ("succeeded", True, 0)

        files = done("export", P, tmp_path / "out", "--json").json["files"]
        folder = tmp_path / "out" / "checkpoints"
        assert sorted(files) == sorted(str(folder / s.replace("/", "%2F") / d / "events.parquet") for s, d in kinds)
        for study, datatype in kinds:
            frame = pl.read_parquet(folder / study.replace("/", "%2F") / datatype / "events.parquet")
            wanted = [d["ptid"] for d in documents if (d["study"], d["datatype"]) == (study, datatype)]
            assert frame["ptid"].to_list() == wanted
        count = "SELECT study, count(*) AS n FROM events GROUP BY ALL ORDER BY study"
        counts = {record["study"]: record["n"] for record in done("query", P, "--sql", count, "--json").json}
        assert counts == {"a/b": 3, "adrc": 6, "leads": 3}
        again = run(payload)
        assert (again["new_events_processed"], again["total_events"]) == (0, 12)
