"""The tests' side of the nursery: asks it for processes, and hears of their ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Condition, Thread

from services.runtime.settings import PROJECT

PATIENCE_S = 120.0
"""The first process waits until everything is imported, and the machine may be busy with something else."""


class Nursery:
    """Makes processes. It ends when this process has ended, however that came about."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.nursery"],
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._changed = Condition()
        self._begun: list[int] = []
        self._codes: dict[int, int] = {}
        self._is_over = False
        Thread(target=self._listen, daemon=True).start()

    def begin(self, module: str, environ: Mapping[str, str], log: Path) -> int:
        """Let a process run a module as ``python -m`` does; its id."""
        assert self._process.stdin is not None
        with self._changed:
            print(
                json.dumps({"module": module, "environ": dict(environ), "log": str(log)}),
                file=self._process.stdin,
                flush=True,
            )
            assert self._changed.wait_for(lambda: self._begun or self._is_over, PATIENCE_S), "no process was made"
            assert self._begun, "the nursery has ended"
            return self._begun.pop()

    def code(self, pid: int) -> int | None:
        """The exit code of a process, negative for a signal; None while it runs."""
        assert not self._is_over, "the nursery has ended"
        return self._codes.get(pid)

    def wait(self, pid: int) -> None:
        """Wait until a process has ended."""
        with self._changed:
            assert self._changed.wait_for(lambda: pid in self._codes or self._is_over, PATIENCE_S), f"{pid} still runs"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                if "begun" in told:
                    self._codes.pop(told["begun"], None)  # an id may come again
                    self._begun.append(told["begun"])
                else:
                    self._codes[told["ended"]] = told["code"]
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()


@cache
def _nursery() -> Nursery:
    return Nursery()


class ForkedProcess:
    """A process that runs a module; what ``Popen`` says of one."""

    def __init__(self, module: str, environ: Mapping[str, str], log: Path) -> None:
        self._nursery = _nursery()
        self.pid = self._nursery.begin(module, environ, log)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._nursery.code(self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self) -> None:
        """Wait until it has ended."""
        self._nursery.wait(self.pid)
