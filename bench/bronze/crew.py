"""Our services as workers, several processes of a kind where that helps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench.nyc_311.usage import cpu_s
from bench.nyc_311.workers import Fleet, Workers

ONE_EACH: Mapping[str, int] = {"planner": 1, "fetcher": 1, "validator": 1, "merger": 1}


@dataclass(frozen=True, slots=True)
class Staff:
    """How many processes of each service there are."""

    processes: Mapping[str, int] = field(default_factory=lambda: ONE_EACH)


class Crew(Workers):
    """The processes of one stack; a service with several of them is numbered."""

    def __init__(self, folder: Path, environ: Mapping[str, str], staff: Staff) -> None:
        super().__init__(folder, environ, Fleet(services=tuple(staff.processes)))
        self._staff = staff

    def cpu_s_of_each(self) -> dict[str, float]:
        """CPU seconds of each process since it was started."""
        return {name: cpu_s(worker.pid) for name, worker in self._running.items()}

    def last_said(self, event: str) -> datetime | None:
        """When any of them said this last; None if none did."""
        lines = [line for log in self._folder.glob("*.log") for line in log.read_text(encoding="utf-8").splitlines()]
        said = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
        return max((datetime.fromisoformat(line["timestamp"]) for line in said), default=None)

    def start(self) -> None:
        """Start every worker and wait until each of them waits for messages.

        Raises:
            WorkerEndedError: one does not within a minute; none is left running.
        """
        self._generation += 1
        try:
            for service, processes in self._staff.processes.items():
                for number in range(processes):
                    self._start(service, service if processes == 1 else f"{service} {number + 1}")
            self._await_ready()
        except BaseException:
            self.kill()
            raise
