"""``tidegate local`` as a user runs it, with the real services as workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.console.local import shop, stack
from services.console.local.processes import tagged
from services.console.local.samples import SAMPLES
from services.console.local.state import DataDir
from services.runtime.settings import PROJECT

TIDEGATE = [sys.executable, "-c", "from services.console.cli import main; main()"]


def tidegate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, within a minute."""
    command = [*TIDEGATE, "local", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory that is gone after the test, with its processes and its database."""
    yield tmp_path / "data"
    stack.reset(DataDir(tmp_path / "data"), lambda _: None)
    assert tagged(tmp_path / "data") == []


def test_a_stack_from_up_to_reset(data: Path) -> None:
    """Each command says what it did on standard error, prints data on standard output, and exits with 0."""
    started = time.monotonic()
    up = tidegate("up", "--detach", "--port", "0", "--data", data)
    assert (up.returncode, up.stdout) == (0, ""), up.stderr
    assert "ready at http://127.0.0.1:" in up.stderr
    assert time.monotonic() - started < 20
    assert "already running" in tidegate("up", "--detach", "--data", data).stderr

    shown = tidegate("status", "--json", "--data", data)
    status = json.loads(shown.stdout)
    assert (shown.returncode, status["state"]) == (0, "running")
    services = {"planner", "fetcher", "validator", "merger", "chunk_worker"}
    assert {p["name"] for p in status["processes"]} == {"supervisor", "emulator", *SAMPLES} | services
    table = tidegate("status", "--data", data).stdout
    assert "logs/planner.log" in table
    assert f"  sample shop's database: {status['database']}\n" in table
    assert re.fullmatch(r"postgresql://tidegate_ingest@127\.0\.0\.1:\d+/shop", status["database"])
    assert f"  conflict report's database: {status['home_care']}\n" in table
    assert re.fullmatch(r"postgresql://tidegate_chunks@127\.0\.0\.1:\d+/home_care", status["home_care"])

    env = tidegate("env", "--data", data).stdout
    assert f"export AWS_ENDPOINT_URL={status['endpoint']}\n" in env
    assert f"export SOCRATA_DOMAIN_URL={status['socrata']}\n" in env
    assert f"export PAYMENTS_API_URL={status['payments_api']}\n" in env
    assert "export TIDEGATE_STACK=tidegate\n" in env

    assert tidegate("down", "--data", data).returncode == 0
    linked = shop.cluster(data).resolve()
    assert tidegate("reset", "--yes", "--data", data).returncode == 0
    assert not data.exists()
    assert not linked.exists()


def test_a_stopped_stack_is_a_failed_check(data: Path) -> None:
    """Status exits with 1, and env prints nothing that a shell could evaluate."""
    assert tidegate("status", "--data", data).returncode == 1
    env = tidegate("env", "--data", data)
    assert (env.returncode, env.stdout) == (1, "")
    assert env.stderr.startswith("error: the local stack is not running")


def test_wrong_usage(data: Path) -> None:
    """A port that is none is wrong usage; nothing is created."""
    assert tidegate("up", "--port", "99999", "--data", data).returncode == 2
    assert not data.exists()


def test_after_a_kill_every_source_is_scanned_again(data: Path) -> None:
    """The next up dispatches one recovery run per pipeline or group, once; the shop's database has lost nothing."""
    assert tidegate("up", "--detach", "--port", "0", "--data", data).returncode == 0
    status = json.loads(tidegate("status", "--json", "--data", data).stdout)
    for process in status["processes"]:
        os.kill(process["pid"], signal.SIGKILL)
    again = tidegate("up", "--detach", "--data", data)
    assert again.returncode == 0, again.stderr
    assert "every source is scanned again (recovery-" in again.stderr
    assert again.stderr.count("recovery-") == 3
    assert "scanned again" not in tidegate("up", "--detach", "--data", data).stderr
