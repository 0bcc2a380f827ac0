"""Worker processes of one test: started, killed, paused and stopped by their process ids."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.runtime.settings import PROJECT
from tests.e2e.forked import ForkedProcess
from tests.emulator_support import Stack

POLL_S = 0.05
PATIENCE_S = 40.0
"""Nothing here takes this long, but the machine may be busy with something else."""

SETTINGS: Mapping[str, str] = {
    "TIDEGATE_WORKER_VISIBILITY_S": "6",
    "TIDEGATE_POLL_S": "1",
    "TIDEGATE_LEASE_TTL_S": "6",
    "TIDEGATE_GRACE_S": "20",
    "PYTHONUNBUFFERED": "1",
}

PROGRESS = re.compile(
    r"(run [\w.-]+|messages|downloaded|waiting for the merger): \d+( of \d+)?"
    r"( chunks, [\d,]+ of [\d,]+ rows)?$"
)

Line = dict[str, Any]


class WorkerProcess:
    """One ``python -m services.{service}.worker``, but for its imports, which were done before (``nursery``)."""

    def __init__(self, service: str, environ: Mapping[str, str], log: Path) -> None:
        self.service = service
        self.log = log
        log.touch()
        self._process = ForkedProcess(f"services.{service}.worker", environ, log)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    def kill(self) -> None:
        """End it as ``kill -9`` does, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """Stop it in its tracks, as a suspended machine would."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.send_signal(signal.SIGTERM)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end; the exit code."""
        await eventually(lambda: not self.is_alive, f"{self.service} ends", within_s)
        assert self._process.returncode is not None
        return self._process.returncode

    def lines(self, event: str | None = None) -> list[Line]:
        """What it logged so far, or those lines of it that tell of this event."""
        found = []
        for text in self.log.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:  # Python's own words, or a line that is only half written yet
                continue
            if event is None or line.get("event") == event:
                found.append(line)
        return found

    async def said(self, event: str) -> Line:
        """Wait until it has logged this event; the first such line."""
        await eventually(lambda: bool(self.lines(event)), f"{self.service} says {event!r}")
        return self.lines(event)[0]


@dataclass(frozen=True, slots=True)
class Ended:
    """An operator's command that has ended."""

    code: int
    out: str
    err: str
    seconds: float


class Fleet:
    """Starts workers of one stack; whatever still runs at the end is killed."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self._base = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TIDEGATE_"))}
        self.workers: list[WorkerProcess] = []
        self.settings: dict[str, str] = {}
        """Settings of every worker that is started from now on."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that works on this stack."""
        return {**self._base, **self._stack.environ, **SETTINGS, **self.settings}

    def start(self, service: str, *, endpoint: str | None = None, **settings: str) -> WorkerProcess:
        """Start a worker; ``endpoint`` takes the place of the stack's own."""
        environ = {**self.environ, **settings}
        if endpoint is not None:
            environ["AWS_ENDPOINT_URL"] = endpoint
        worker = WorkerProcess(service, environ, self.folder / f"{service}-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    async def tidegate(self, *arguments: str | Path, **settings: str) -> Ended:
        """Run an operator's command on this stack."""
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("tidegate"),
            *arguments,
            env={**self.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 2 * PATIENCE_S)
        except TimeoutError:
            process.kill()
            raise
        return Ended(process.returncode or 0, out.decode(), err.decode(), time.monotonic() - started)

    def cut_segments(self, size: int) -> None:
        """Let workers that are started from now on make segments of at most this many objects."""
        text = (PROJECT / "pipelines" / "visit_events.toml").read_text(encoding="utf-8")
        folder = self.folder / "pipelines"
        folder.mkdir()
        (folder / "visit_events.toml").write_text(f"{text}\n[limits]\nobjects_per_segment = {size}\n", encoding="utf-8")
        self.settings["TIDEGATE_PIPELINES"] = str(folder)

    def kill_all(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            if worker.is_alive:
                worker.kill()

    def defects(self) -> list[str]:
        """Lines that no fault of the world around a worker may bring about."""
        lines = [line for worker in self.workers for line in worker.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if "on a defect" in line or line.startswith("Traceback")]

    def story(self, last: int = 25) -> str:
        """The end of every log, for people."""
        return "\n".join(
            "\n".join([f"--- {worker.log.name}", *worker.log.read_text(encoding="utf-8").splitlines()[-last:]])
            for worker in self.workers
        )


def one_error(err: str) -> str:
    """The one line of standard error that says what went wrong; only lines of progress may stand before it."""
    assert "Traceback" not in err
    *progress, error = err.splitlines()
    assert error.startswith("error: "), err
    assert not [line for line in progress if not PROGRESS.match(line)], err
    return error


async def eventually(holds: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it still does not after ``within_s`` seconds.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(POLL_S)
