"""The sample Socrata server as a process of its own, with its control plane."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

from bench import PROJECT
from bench.nyc_311.rows import Row

SERVER = PROJECT / "localstack" / "socrata" / "server.py"
DATASET = "erm2-nwe9"
TIMEOUT_S = 120


class Source:
    """Started when made, stopped at the end of the block."""

    def __init__(self) -> None:
        command = [sys.executable, str(SERVER), "--host", "127.0.0.1", "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert self._process.stdout  # noqa: S101 - it is a pipe
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the sample server ended with {self._process.wait()} before it served")

    def load(self, file: Path) -> None:
        """Replace the dataset by the rows of an NDJSON file."""
        self._control("PUT", f"datasets/{DATASET}", {"path": str(file)})

    def publish(self, rows: Sequence[Row]) -> None:
        """Add rows, or replace those whose keys are there."""
        self._control("POST", f"datasets/{DATASET}/rows", {"rows": list(rows)})

    def set_latency(self, milliseconds: float) -> None:
        """Change what is added to every answer."""
        self._control("POST", "latency", {"ms": milliseconds})

    def stats(self) -> Mapping[str, Any]:
        """Requests answered (``requests``) and seconds spent on them without the latency (``busy_s``), so far."""
        stats: Mapping[str, Any] = self._control("GET", "stats")
        return stats

    def pages(self, page_rows: int) -> list[float]:
        """When pages of rows were asked for, in seconds, oldest first; counts and the like are none."""
        log = self._control("GET", "log")["requests"]
        asked = [(entry["at_s"], entry["params"]) for entry in log]
        return [at_s for at_s, query in asked if query.get("$limit") == str(page_rows) and "$group" not in query]

    def forget(self) -> None:
        """Begin to count requests and seconds from nothing."""
        self._control("DELETE", "log")

    def stop(self) -> None:
        """End the process and wait for it."""
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, method: str, target: str, document: Mapping[str, Any] | None = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.url}/_control/{target}", data=body, headers=headers, method=method)  # noqa: S310 - our own http server
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - same
            text = answer.read()
        return json.loads(text) if text else None
