"""The fetcher as it is deployed, between a real queue's messages, the sample source and the emulator."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from contracts.fetching import FetchSegment, KeyRange
from contracts.runs import RunState
from services.runtime.aws.clients import Clients
from services.runtime.aws.tables import get
from services.runtime.ledger import Step
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.integration.fetcher_support import Deployment, Function, running_function
from tests.integration.queue_support import until
from tests.socrata_support import SocrataServer, socrata_server
from tests.unit.fetcher.world import NAME, RUN_ID, at, command, key_of

BATCH_SIZE = 20
DECLARED = (PROJECT / "pipelines" / f"{NAME}.toml").read_text(encoding="utf-8")
COLUMNS = {"unique_key": "text", "created_date": "floating_timestamp", "status": "text", "complaint_type": "text"}
HALVES = {"s1": KeyRange(start=at(0), before=at(10)), "s2": KeyRange(start=at(10), to=at(59))}


def service_request(number: int) -> dict[str, str]:
    """A row; thirty share one minute, and every eleventh is of no interest to the pipeline."""
    return {
        "unique_key": f"{number * 7_919 % 100_000:08}",
        "created_date": at(number // 30),
        "status": "Closed" if number % 11 == 0 else "Open",
        "complaint_type": f"Noise - \u201c{number}\u201d\\",
    }


ROWS = [service_request(number) for number in range(600)]


def wanted(within: KeyRange, rows: Sequence[dict[str, str]] = ROWS) -> list[dict[str, str]]:
    """The rows of a range that the pipeline asks for, in order."""
    open_ = [row for row in rows if row["status"] == "Open" and row["created_date"] >= within.start]
    upper = [
        row
        for row in open_
        if row["created_date"] < (within.before or "9") and row["created_date"] <= (within.to or "9")
    ]
    return sorted(upper, key=lambda row: (row["created_date"], row["unique_key"]))


@pytest.fixture(scope="module")
def running() -> Iterator[SocrataServer]:
    """A sample server for the module."""
    with socrata_server() as server:
        yield server


@pytest.fixture
def source(running: SocrataServer) -> SocrataServer:
    """The server with 600 rows and no faults."""
    running.reset()
    running.load(ROWS, columns=COLUMNS, key="unique_key")
    return running


@pytest.fixture
def declarations(tmp_path: Path) -> Path:
    """The project's declaration, with small pages and without a limit that would take time."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    changed = DECLARED.replace("batch_size = 2_000", f"batch_size = {BATCH_SIZE}\nrequests_per_second = 500.0")
    assert changed != DECLARED
    (folder / "nyc.toml").write_text(changed, encoding="utf-8")
    return folder


@pytest.fixture
def environ(stack: Stack, source: SocrataServer, declarations: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The environment of a fetcher."""
    monkeypatch.setenv("SOCRATA_DOMAIN_URL", source.url)
    monkeypatch.setenv("TIDEGATE_PIPELINES", str(declarations))
    return stack


@pytest.fixture
async def deployment(environ: Stack, clients: Clients) -> Deployment:
    """The stack, from outside."""
    return Deployment(environ, clients)


@pytest.fixture
def fetch(environ: Stack) -> Iterator[Function]:
    """The fetcher's function."""
    assert environ.name == os.environ["TIDEGATE_STACK"]
    with running_function() as function:
        yield function


def commands(**ranges: KeyRange) -> list[FetchSegment]:
    return [
        command(segment, range=within, expected=len(wanted(within))) for segment, within in (ranges or HALVES).items()
    ]


async def test_two_segments(deployment: Deployment, fetch: Function, source: SocrataServer) -> None:
    """Each has its rows to the letter and in order, the validator hears of both, and a repetition asks nothing."""
    await deployment.begin(*HALVES)
    assert await fetch(*commands()) == []
    for segment, within in HALVES.items():
        assert await deployment.rows(segment) == wanted(within)
    assert sorted(await deployment.announced()) == sorted(map(key_of, HALVES))
    assert await get(deployment.clients.dynamodb, deployment.stack.resource("budgets"), {"budget": source.url})
    source.forget()
    assert await fetch(*commands(), receives=2) == []
    assert source.log() == []


async def test_trouble_at_the_source(deployment: Deployment, fetch: Function, source: SocrataServer) -> None:
    """Errors, answers that break off and capped pages neither lose a row nor repeat one."""
    source.faults(
        {"status": 503, "skip": 2, "times": 1},
        {"status": 429, "retry_after": "0", "skip": 4, "times": 1},
        {"cut_after": 700, "skip": 5, "times": 1},
        {"cap": 7, "every": 2},
    )
    await deployment.begin(*HALVES)
    assert await fetch(*commands()) == []
    assert source.fired()[:3] == [1, 1, 1]
    for segment, within in HALVES.items():
        assert await deployment.rows(segment) == wanted(within)


async def test_a_source_that_refuses(
    deployment: Deployment, source: SocrataServer, declarations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that the source does not have fails the run with the source's message; nothing is left behind."""
    (declarations / "nyc.toml").write_text(DECLARED.replace("status in", "statuz in"), encoding="utf-8")
    monkeypatch.setenv("SOCRATA_APP_TOKEN", "t0p-s3cret")
    await deployment.begin("s1")
    with running_function() as fetch:
        assert await fetch(commands()[0]) == []
    run = await deployment.ledger.run(RUN_ID)
    assert run is not None
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert "statuz" in run.reason
    assert "t0p-s3cret" not in run.reason
    assert [request["token"] for request in source.log()] == ["t0p-s3cret"]
    listed = await deployment.clients.s3.list_objects_v2(Bucket=deployment.stack.resource("raw"))
    assert listed["KeyCount"] == 0


async def test_rivals(deployment: Deployment, fetch: Function, source: SocrataServer) -> None:
    """Of two fetchers with one command at once, while rows are published, one writes and both enter its count."""
    await deployment.begin("s1")
    late = {**ROWS[1], "unique_key": "99999999"}
    with running_function() as rival:
        first, second, _ = await asyncio.gather(
            fetch(commands()[0]),
            rival(commands()[0]),
            asyncio.to_thread(source.publish, [late]),
        )
    assert (first, second) == ([], [])
    found = await deployment.rows("s1")
    assert [row for row in found if row != late] == wanted(HALVES["s1"])
    assert len(found) - len(wanted(HALVES["s1"])) in {0, 1}


async def test_a_worker(deployment: Deployment, source: SocrataServer, tmp_path: Path) -> None:
    """The long-poll worker takes commands from the queue, several at once over few connections, and ends cleanly."""
    ranges = {f"s{n}": KeyRange(start=at(5 * n), before=at(5 * n + 5)) for n in range(4)}
    await deployment.begin(*ranges)
    source.latency(100)
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(  # noqa: ASYNC220 - it lives beside the test
            [sys.executable, "-m", "services.fetcher.worker"],
            env={**os.environ, "TIDEGATE_POLL_S": "1"},
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await deployment.publisher.send("fetch-segments", commands(**ranges), run_id=RUN_ID)

        async def fetched() -> bool:
            return all(entry.step is Step.FETCHED for entry in await deployment.ledger.segments(RUN_ID))

        await until(fetched)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 20) == 0
    finally:
        worker.kill()
        worker.wait()
    for segment, within in ranges.items():
        assert await deployment.rows(segment) == wanted(within)
    assert b"defect" not in (tmp_path / "worker.log").read_bytes()
