"""The S3 stub as a process of its own, for the benchmarks that start it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

from bench import PROJECT


class StubProcess:
    """Started when made, stopped by ``stop`` or at the end of the block."""

    def __init__(self, *, files: int, latency_ms: float, versions: int | None = None) -> None:
        command = [sys.executable, "-m", "bench.s3_stub", "--files", str(files), "--latency-ms", str(latency_ms)]
        command += [] if versions is None else ["--versions", str(versions)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        assert self._process.stdout  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stub ended with {self._process.wait()} before it served")
        announced = json.loads(line)
        self.url: str = announced["url"]
        self.bucket: str = announced["bucket"]

    def environ(self) -> dict[str, str]:
        """The variables that point any AWS client at the stub."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "stub",
            "AWS_SECRET_ACCESS_KEY": "stub",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def set_latency(self, milliseconds: float) -> None:
        """Change what is added to every answer."""
        self._door(f"latency?ms={milliseconds}", method="POST")

    def generate(self, first: int, count: int) -> None:
        """Add more of the generated files."""
        self._door(f"generate?first={first}&count={count}", method="POST")

    def stats(self) -> Mapping[str, Any]:
        """Requests served and CPU seconds used since the stub started."""
        stats: Mapping[str, Any] = json.loads(self._door("stats"))
        return stats

    def read(self, key: str) -> bytes:
        """The current content of an object."""
        return self._ask(f"/{self.bucket}/{key}")

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

    def _door(self, request: str, method: str = "GET") -> bytes:
        return self._ask(f"/_stub/{request}", method)

    def _ask(self, target: str, method: str = "GET") -> bytes:
        with urlopen(Request(self.url + target, method=method)) as answer:  # noqa: S310 - our own http server
            body: bytes = answer.read()
        return body
