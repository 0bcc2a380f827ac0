"""Processes of the stack: recognised for certain before anything is done to them."""

import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

HOME_TAG = "TIDEGATE_LOCAL_HOME"
"""Environment variable of every process of a stack: its data directory. Finds one that no state file knows yet."""

ROLE_TAG = "TIDEGATE_LOCAL_ROLE"
EMULATOR = "emulator"

_START_TOLERANCE_S = 2.0  # the system derives start times from a boot time that clock corrections move a little
_POLL_S = 0.05


class ProcessRecord(BaseModel):
    """A process as it was started; a recycled pid has another start time."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: float
    """Seconds since the epoch."""
    log: str = ""
    restarts: int = 0

    @classmethod
    def of(cls, name: str, pid: int, *, log: Path | None = None, restarts: int = 0) -> "ProcessRecord":
        """The record of a process that lives (or is our own child, not yet waited for)."""
        started = psutil.Process(pid).create_time()
        return cls(name=name, pid=pid, started=started, log=str(log or ""), restarts=restarts)

    def process(self) -> psutil.Process | None:
        """The process itself; None when it ended, is a zombie, or its pid belongs to somebody else now."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _START_TOLERANCE_S
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.process() is not None


def tags(home: Path, role: str) -> dict[str, str]:
    """The environment that marks a process as part of the stack in ``home``."""
    return {HOME_TAG: str(home.resolve()), ROLE_TAG: role}


def tagged(home: Path) -> list[ProcessRecord]:
    """Every live process of the stack in ``home``, however it came about."""
    found: list[ProcessRecord] = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            if environ.get(HOME_TAG) == str(home.resolve()):
                found.append(ProcessRecord.of(environ.get(ROLE_TAG, "worker"), process.pid))
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or another user's: not ours in either case
    return [record for record in found if record.alive]


def terminate(records: Iterable[ProcessRecord], grace_s: float) -> list[ProcessRecord]:
    """End processes with SIGTERM, by force after ``grace_s`` seconds; those that needed force are returned."""
    records = list(records)
    _signal(records, signal.SIGTERM)
    stubborn = _remaining(records, grace_s)
    _signal(stubborn, signal.SIGKILL)
    _remaining(stubborn, grace_s)
    return stubborn


def wait_for_end(records: Iterable[ProcessRecord], timeout_s: float) -> bool:
    """Wait until none of them runs; False if one still does after ``timeout_s`` seconds."""
    return not _remaining(records, timeout_s)


def _signal(records: Iterable[ProcessRecord], number: signal.Signals) -> None:
    for record in records:
        process = record.process()
        if process is not None:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue  # it ended between the look and the signal, which is what was wanted


def _remaining(records: Iterable[ProcessRecord], timeout_s: float) -> list[ProcessRecord]:
    deadline = time.monotonic() + timeout_s
    remaining = [record for record in records if record.alive]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        remaining = [record for record in remaining if record.alive]
    return remaining
