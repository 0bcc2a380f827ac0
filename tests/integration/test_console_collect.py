"""Output, watermark and quarantine of a pipeline whose rows we fetch ourselves, as ``tidegate`` shows them."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from contracts.checkpoints import RestoreCheckpoint
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import Occurrence, Settlement, segment_id_of
from contracts.sources import FetchedName
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.ledger import Run
from tests.cli_support import done, tidegate
from tests.emulator_support import Stack
from tests.integration.collect_support import (
    CURSOR,
    DAY,
    FEBRUARY,
    JANUARY,
    MARK,
    UNRECORDED,
    UNTIL,
    P,
    commit,
    fill,
    own_stack,
    parquet,
    received,
)
from tests.integration.console_support import in_session


@pytest.fixture(scope="module")
def stack(emulator: Emulator) -> Iterator[Stack]:
    """One stack for all tests that leave alone what others look at."""
    with own_stack(emulator) as stack:
        in_session(fill)
        yield stack


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
