"""What only the EMF adapter does: standard output, and tracing that is off unless it can be on."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.aws.telemetry import EmfTelemetry
from services.runtime.settings import PROJECT
from tests.fakes.xray import FakeRecorder


def test_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream each set of dimensions becomes one line of JSON on standard output."""
    telemetry = EmfTelemetry("planner")
    telemetry.metric("Planned", 5, pipeline="visit_events")
    telemetry.metric("Ignored", 2, pipeline="visit_events")
    telemetry.metric("Planned", 1, pipeline="other")
    telemetry.flush()
    written = capsys.readouterr()
    first, second = (json.loads(line) for line in written.out.splitlines())
    assert (first["Planned"], first["Ignored"], first["pipeline"], first["service"]) == (
        [5.0],
        [2.0],
        "visit_events",
        "planner",
    )
    assert (second["Planned"], second["pipeline"]) == ([1.0], "other")
    assert written.err == ""


def test_a_stream_takes_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker's stream gets every line; standard output stays clean, also when an EMF object fills up."""
    stream = io.StringIO()
    telemetry = EmfTelemetry("planner", stream=stream)
    for value in range(1_000):
        telemetry.metric("RowsIn", value)
    telemetry.flush()
    assert sum(len(json.loads(line)["RowsIn"]) for line in stream.getvalue().splitlines()) == 1_000
    assert capsys.readouterr().out == ""


def test_two_services_do_not_share_metrics() -> None:
    """Each object publishes what it was told, though both live in one process."""
    one, other = io.StringIO(), io.StringIO()
    first, second = EmfTelemetry("planner", stream=one), EmfTelemetry("merger", stream=other)
    first.metric("A", 1)
    second.metric("B", 1)
    first.flush()
    second.flush()
    assert (json.loads(one.getvalue()).get("B"), json.loads(other.getvalue()).get("A")) == (None, None)


def test_without_tracing_a_segment_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a recorder a segment costs nothing and says nothing."""
    with EmfTelemetry("planner").segment("list") as opened:
        assert opened is None
    assert capsys.readouterr().out == ""


def run(code: str, folder: Path, **environ: str) -> str:
    """What a clean interpreter prints that has the sample X-Ray SDK of ``sdk``, if any, in its path."""
    path = f"{PROJECT}:{folder}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path, **environ}, capture_output=True, text=True, check=True
    )
    return done.stdout


def sdk(folder: Path) -> Path:
    """A package in the place of the X-Ray SDK that prints what is done to it."""
    core = folder / "aws_xray_sdk" / "core"
    core.mkdir(parents=True)
    (core.parent / "__init__.py").write_text("print('imported')\nfrom . import core\n")
    (core / "__init__.py").write_text(
        "from contextlib import contextmanager\n"
        "class Recorder:\n"
        "    def configure(self, **options): pass\n"
        "    @contextmanager\n"
        "    def in_subsegment(self, name):\n"
        "        print('open', name)\n"
        "        yield\n"
        "        print('close', name)\n"
        "def patch_all(): print('patched')\n"
        "def patch(modules): print('patched')\n"
        "xray_recorder = Recorder()\n"
    )
    return folder


TRACED = """
from services.runtime.aws.telemetry import EmfTelemetry, xray_recorder
with EmfTelemetry("planner", recorder=xray_recorder("planner")).segment("list"):
    print("work")
"""


def test_tracing_in_lambda_with_the_sdk(tmp_path: Path) -> None:
    """Where the SDK is packaged and Lambda runs us, segments are recorded, and no library is patched."""
    printed = run(TRACED, sdk(tmp_path), LAMBDA_TASK_ROOT="/var/task")
    assert printed.split("\n")[:-1] == ["imported", "open list", "work", "close list"]


def test_no_tracing_without_the_sdk(tmp_path: Path) -> None:
    """Without the SDK the same code does the same work untraced."""
    assert run(TRACED, tmp_path, LAMBDA_TASK_ROOT="/var/task") == "work\n"


def test_a_service_that_does_not_trace_does_not_pay(tmp_path: Path) -> None:
    """The SDK is not even imported unless a recorder is asked for."""
    code = "from services.runtime.aws.telemetry import EmfTelemetry as T\nwith T('planner').segment('a'): print('work')"
    assert run(code, sdk(tmp_path), LAMBDA_TASK_ROOT="/var/task") == "work\n"


async def test_tasks_do_not_close_each_others_segments() -> None:
    """Of two tasks that overlap only the first is traced, and each subsegment is closed by its own block."""
    recorder = FakeRecorder()
    telemetry = EmfTelemetry("validator", stream=io.StringIO(), recorder=recorder)
    first_open, second_open = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with telemetry.segment("first"):
            first_open.set()
            await second_open.wait()

    async def second() -> None:
        await first_open.wait()
        with telemetry.segment("second"):
            second_open.set()
            await asyncio.sleep(0)

    await asyncio.gather(first(), second())
    with telemetry.segment("third"):
        assert recorder.closed == ["first"]
    assert recorder.segments == [("first",), ("third",)]
