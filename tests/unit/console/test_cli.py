"""Exit codes and error lines of ``tidegate`` as a process. Nothing here reaches an endpoint."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.runtime.settings import PROJECT
from tests.cli_support import tidegate

TIDEGATE = [sys.executable, "-c", "from services.console.cli import main; main()"]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An AWS environment whose endpoint refuses connections, because its port is taken by nobody who listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TIDEGATE_"))}
        yield kept | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "TIDEGATE_DATA": str(tmp_path / "nowhere"),
        }


def run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*TIDEGATE, *arguments], cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


USAGE = {
    ("run", "nothing"): "there is no pipeline 'nothing'; there are ",
    ("run", "visit_events", "--payload", "{"): "--payload is not JSON: Expecting property name",
    ("query", "visit_events", "nothing"): "visit_events has no query 'nothing'; it has latest_per_visit",
}
MORE_USAGE = {
    ("run", "visit_events", "--payload", "[]"): "--payload: the document: Input should be",
    ("run", "visit_events", "--payload", '{"bucket": "b"}'): "--payload: bucket: Extra inputs are not permitted",
    ("run", "visit_events", "--payload", '{"since_timestamp": "2026-01-01"}'): "--payload: since_timestamp: ",
    ("query", "visit_events", "filtered", "--param", "x"): "--param wants NAME=VALUE, not 'x'",
    ("watermark", "rewind", "visit_events", "--to", "soon"): "--to: Invalid isoformat string: 'soon'",
    ("watermark", "rewind", "visit_events", "--to", "2026-01-01"): "--to 2026-01-01: give a zone",
    ("dlq", "show", "nothing"): "there is no queue 'nothing'; there are plan-requests",
    ("plan", "nothing"): "there is no pipeline 'nothing'; there are ",
    ("plan", "nyc_311", "--payload", "nothing"): "--payload is not JSON: Expecting value",
    ("run", "nyc_311", "--payload", '{"since": 1}'): "--payload: since: Extra inputs are not permitted",
    ("run", "nyc_311", "--payload", '{"max_records": 0}'): "--payload: max_records: Input should be greater than 0",
    ("run", "nyc_311", "--payload", '{"prefix": "x"}'): "--payload: prefix: Extra inputs are not permitted",
    (
        "run",
        "visit_events",
        "--payload",
        '{"max_records": 1}',
    ): "--payload: max_records: Extra inputs are not permitted",
    ("watermark", "rewind", "nyc_311", "--to", "soon"): "--to: Invalid isoformat string: 'soon'",
    ("watermark", "rewind", "nyc_311", "--to", "2025-02-21T00:00:00Z"): "--to 2025-02-21T00:00:00Z: the source's times",
    ("watermark", "rewind", "nyc_311", "--to", "2025-02-21"): "--to 2025-02-21: write it as the source does",
    ("checkpoint", "restore", "nyc_311", "1"): "nyc_311 has several objects: give --key",
    ("wait",): "give either a run or --idle",
    ("wait", "r", "--idle"): "give either a run or --idle",
}


def test_wrong_usage_is_one_line_and_exit_code_2(environ: dict[str, str]) -> None:
    """The line says what is wrong and what there is; no traceback, nothing on standard output."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda arguments: run(environ, *arguments), USAGE))
    for (arguments, expected), ended in zip(USAGE.items(), found, strict=True):
        assert (ended.returncode, ended.stdout) == (2, ""), (arguments, ended.stderr)
        assert ended.stderr.startswith(f"error: {expected}"), (arguments, ended.stderr)
        assert len(ended.stderr.splitlines()) == 1, arguments


@pytest.mark.parametrize(("arguments", "expected"), MORE_USAGE.items(), ids=lambda value: " ".join(value)[:60])
def test_every_wrong_argument_is_named(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    """Before anything is sent anywhere."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ended = tidegate(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {expected}")
    assert len(ended.err.splitlines()) == 1


def test_a_wrong_setting_is_named(environ: dict[str, str]) -> None:
    """Settings are usage too."""
    ended = run(environ | {"TIDEGATE_STACK": "No Good"}, "status")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: TIDEGATE_STACK='No Good': ")


def test_an_unknown_command_is_wrong_usage(environ: dict[str, str]) -> None:
    """Also an option that does not exist."""
    for arguments in (["nothing"], ["status", "--nothing"]):
        ended = run(environ, *arguments)
        assert ended.returncode == 2
        assert "nothing" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_an_endpoint_that_does_not_answer_is_a_failure(environ: dict[str, str]) -> None:
    """One line and exit code 1; --debug shows the traceback instead."""
    with ThreadPoolExecutor(2) as pool:
        ended, shown = pool.map(lambda arguments: run(environ, *arguments), [["status"], ["--debug", "status"]])
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("error: ")
    assert environ["AWS_ENDPOINT_URL"] in ended.stderr
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "UnreachableError" in shown.stderr
