"""Our services as long-poll workers, each a process of its own: started, killed, stopped, and what they used."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import PROJECT
from bench.nyc_311.usage import cpu_s, peak_rss_bytes

SERVICES = ("planner", "fetcher", "validator", "merger")
READY_S = 60.0
LAST_WORDS = 5

_POLL_S = 0.05
_SETTINGS = {
    "PYTHONUNBUFFERED": "1",
    # As the embedded stack starts its workers: allocators give memory back instead of keeping it per thread.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "POLARS_MAX_THREADS": "1",
    "TIDEGATE_POLL_S": "2",
}


class WorkerEndedError(Exception):
    """A worker did not start or ended by itself; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many processes read the source, and how many segments each of them fetches side by side."""

    fetchers: int = 1
    lanes: int = 8
    services: tuple[str, ...] = SERVICES


def missing() -> list[str]:
    """Modules of workers that do not exist yet."""
    modules = [f"services.{service}.worker" for service in SERVICES]
    return [module for module in modules if importlib.util.find_spec(module) is None]


class Workers:
    """The processes of one stack; stopped or killed by whoever started them."""

    def __init__(self, folder: Path, environ: Mapping[str, str], fleet: Fleet) -> None:
        self._folder = folder
        self._fleet = fleet
        base = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        self._environ = base | _SETTINGS | {"TIDEGATE_FETCHER_LANES": str(fleet.lanes)} | dict(environ)
        self._running: dict[str, psutil.Popen] = {}
        self._generation = 0

    def start(self) -> None:
        """Start every worker and wait until each of them waits for messages.

        Raises:
            WorkerEndedError: one does not within a minute; none is left running.
        """
        self._generation += 1
        try:
            for service in self._fleet.services:
                several = service == "fetcher" and self._fleet.fetchers > 1
                names = [f"{service} {n + 1}" for n in range(self._fleet.fetchers)] if several else [service]
                for name in names:
                    self._start(service, name)
            self._await_ready()
        except BaseException:
            self.kill()
            raise

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while waiting := [name for name in self._running if '"worker started"' not in self._said(name)]:
            self.check()
            if time.monotonic() > deadline:
                raise WorkerEndedError(f"not ready after {READY_S:g} s: {', '.join(waiting)}\n{self.story()}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Make sure that all of them are alive.

        Raises:
            WorkerEndedError: one is not.
        """
        ended = [name for name, worker in list(self._running.items()) if worker.poll() is not None]
        if ended:
            raise WorkerEndedError(f"ended by themselves: {', '.join(ended)}\n{self.story()}")

    def kill(self) -> None:
        """End all of them as ``kill -9`` does, and wait until they are gone."""
        for worker in self._taken():
            worker.kill()
            worker.wait()

    def stop(self) -> None:
        """Ask all of them to end, and wait until they have."""
        ending = self._taken()
        for worker in ending:
            worker.terminate()
        for worker in ending:
            worker.wait()

    def cpu_s(self) -> float:
        """CPU seconds of all of them together since they were started."""
        return sum(cpu_s(worker.pid) for worker in self._running.values())

    def peak_rss_bytes(self) -> dict[str, int]:
        """The most memory each of them has had."""
        return {name: peak_rss_bytes(worker.pid) for name, worker in self._running.items()}

    def story(self) -> str:
        """The end of every log, for people."""
        return "\n".join(
            "\n".join([f"--- {name}", *self._said(name).splitlines()[-LAST_WORDS:]]) for name in self._running
        )

    def _start(self, service: str, name: str) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = psutil.Popen(
                [sys.executable, "-m", f"services.{service}.worker"],
                env=self._environ,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _taken(self) -> list[psutil.Popen]:
        """All of them, which from now on nobody expects to be alive."""
        running, self._running = self._running, {}
        return list(running.values())

    def _said(self, name: str) -> str:
        return self._log(name).read_text(encoding="utf-8", errors="replace")

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.{self._generation}.log"
