"""One service of the stack as a supervised child process."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.console.local.processes import ProcessRecord
from services.runtime.settings import PROJECT

WORKERS: Mapping[str, Sequence[str]] = {
    name: (sys.executable, "-m", f"services.{name}.worker")
    for name in ("planner", "fetcher", "validator", "merger", "chunk_worker")
}
"""The services of the stack and how each is started, from the project's folder."""

BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pause before the first, second, … restart in a row; the last one from then on."""

HEALTHY_AFTER_S = 60.0
"""A worker that lived this long starts its back-off from the beginning."""


class Worker:
    """Starts a service (or a sample server), starts it again when it dies, and stops it."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.record: ProcessRecord | None = None
        self._started = 0.0
        self._due: float | None = None
        self._in_a_row = 0

    def start(self) -> None:
        """Start the process; what it says goes to its log."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command comes from WORKERS
                self._command,
                env=self._environ,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C goes to the supervisor alone, which stops it in order
            )
        self._started = time.monotonic()
        self._due = None
        self.record = ProcessRecord.of(self.name, self._process.pid, log=self._log, restarts=self.restarts)

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def watch(self, now: float) -> str | None:
        """Look after the process at monotonic time ``now``; a line for the operator when something changed."""
        if self._due is not None:
            if now < self._due:
                return None
            self.restarts += 1
            self.start()
            return f"{self.name}: started again (restart {self.restarts})"
        code = self._popen.poll()
        if code is None:
            return None
        self._in_a_row = 0 if now - self._started > HEALTHY_AFTER_S else self._in_a_row + 1
        pause = BACKOFF_S[min(max(self._in_a_row - 1, 0), len(BACKOFF_S) - 1)]
        self._due = now + pause
        return f"{self.name}: ended unexpectedly ({_describe(code)}); next start in {pause:g} s, log: {self._log}"

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, deadline: float) -> bool:
        """Wait until monotonic time ``deadline`` and then end it by force; True if force was not needed."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
