"""The sample server beside the emulator: started, watched and stopped by the supervisor."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from services.console.local import stack
from services.console.local.emulator import choose_port
from services.console.local.processes import tagged
from services.console.local.socrata import DATASET, SOCRATA, command, first_day, wait_ready
from services.console.local.state import DataDir, StackState, exports
from services.console.local.status import status
from services.console.local.supervisor import Options
from services.runtime.declarations import load_pipeline
from services.runtime.failures import PermanentError
from services.runtime.settings import PROJECT
from tests.socrata_support import RefusedError, SocrataClient

WITHIN_S = 20.0
SHOWS = "import os, signal; print(os.environ['SOCRATA_DOMAIN_URL'], flush=True); signal.pause()"


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Fail unless it holds within twenty seconds."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[DataDir]:
    """A data directory whose processes are gone after the test."""
    home = DataDir(tmp_path / "data")
    home.prepare()
    home.log("supervisor").parent.mkdir()
    yield home
    stack.down(home, lambda _: None)
    assert tagged(home.path) == []


def supervised(home: DataDir, socrata_port: int) -> StackState:
    """Run emulator, sample server and one worker that says what it was told."""
    options = Options(
        data_dir=home.path,
        port=choose_port(),
        socrata_port=socrata_port,
        detached=True,
        workers={"planner": (sys.executable, "-c", SHOWS)},
    )
    with home.log("supervisor").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "services.console.local.supervisor", options.model_dump_json()],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    eventually(lambda: status(home).state == "running", "the stack does not run")
    return stack.running_state(home)


def test_a_stack_with_service_requests(home: DataDir) -> None:
    """Services and operators are pointed at the server; killed, it comes back at its address with the same rows."""
    state = supervised(home, choose_port())
    assert exports(state)["SOCRATA_DOMAIN_URL"] == status(home).socrata == state.socrata
    eventually(lambda: f"{state.socrata}\n" == home.log("planner").read_text(), "the worker does not know the address")

    assert state.socrata is not None
    portal = SocrataClient(state.socrata)
    before = portal.get(select="count(*), min(created_date)")
    assert 9_000 < int(before[0]["count"]) < 12_000
    assert before[0]["min_created_date"].startswith(str(first_day(home.path, date.max)))

    [process] = [p for p in status(home).processes if p.name == SOCRATA]
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: [p.restarts for p in status(home).processes if p.name == SOCRATA] == [1], "it is not restarted")
    assert state.socrata_port is not None
    wait_ready(state.socrata_port, home.log(SOCRATA), lambda: True)
    assert portal.get(select="min(created_date)") == [{"min_created_date": before[0]["min_created_date"]}]
    with pytest.raises(RefusedError, match="No such column"):
        portal.get(select="published_at")

    assert stack.down(home, lambda _: None)
    assert status(home).processes == []


def test_the_first_day_is_decided_once(tmp_path: Path) -> None:
    """A stack that is started again months later has the same first row, and more of them."""
    assert first_day(tmp_path, date(2025, 6, 10)) == first_day(tmp_path, date(2025, 12, 24)) == date(2025, 5, 6)
    counts = []
    for month in (6, 7):
        [data] = [text for text in command(tmp_path, 1, datetime(2025, month, 10)) if text.startswith("{")]  # noqa: DTZ001
        sample = json.loads(data)["generate"]
        assert sample["start"] == "2025-05-06T00:00:00"
        counts.append(sample["count"])
    assert counts == [42 * 300, 72 * 300]


def test_the_dataset_is_the_pipelines() -> None:
    """What the stack serves is what the declared pipeline asks for."""
    source = load_pipeline(PROJECT / "pipelines" / "nyc_311.toml").source
    assert source.kind == "socrata"
    assert source.dataset == DATASET


def test_a_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    """The error is the last line of its log."""
    log = tmp_path / "socrata.log"
    log.write_text("error: no such thing\n")
    with pytest.raises(PermanentError, match="did not start: error: no such thing"):
        wait_ready(choose_port(), log, lambda: False)
