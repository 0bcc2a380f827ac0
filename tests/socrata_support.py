"""A sample Socrata server of a test's own, and the control plane's client."""

import http.client
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.runtime.settings import PROJECT

SERVER = PROJECT / "localstack" / "socrata" / "server.py"
DATASET = "erm2-nwe9"
STOP_GRACE_S = 10.0

Row = Mapping[str, Any]
"""Column and value as on the wire; ``published_at`` is for the control plane."""


class RefusedError(Exception):
    """The server answered with an error document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {document['code']}: {document['message']}")
        self.status = status
        self.code: str = document["code"]
        self.message: str = document["message"]


class SocrataClient:
    """Client of a server wherever it runs. Every method but ``get`` is a request to its control plane."""

    def __init__(self, url: str) -> None:
        self.url = url

    def load(self, rows: Sequence[Row] | None = None, *, dataset: str = DATASET, **options: Any) -> dict[str, Any]:
        """Create or replace a dataset from ``rows``, or from ``path=`` or ``generate=``; ``columns=`` and ``key=``."""
        given = options if rows is None else {"rows": list(rows), **options}
        return self.control("PUT", f"datasets/{dataset}", {k: _plain(v) for k, v in given.items()})

    def publish(self, rows: Sequence[Row], *, dataset: str = DATASET) -> dict[str, Any]:
        """Add rows; one whose key is known takes the place of the old one."""
        return self.control("POST", f"datasets/{dataset}/rows", {"rows": list(rows)})

    def remove(self, dataset: str = DATASET) -> None:
        """Remove a dataset."""
        self.control("DELETE", f"datasets/{dataset}")

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Replace the fault rules; without any nothing goes wrong any more. Their fields: ``localstack/socrata``."""
        self.control("POST", "faults", {"rules": list(rules)})

    def fired(self) -> list[int]:
        """How many requests each rule has struck."""
        return [rule["fired"] for rule in self.control("GET", "faults")["rules"]]

    def latency(self, ms: float) -> None:
        """Delay every answer."""
        self.control("POST", "latency", {"ms": ms})

    def throttle(self, requests_per_second: float | None, burst: int = 1) -> None:
        """Limit the rate of each token's requests; None lifts the limit."""
        self.control("POST", "throttle", {"requests_per_second": requests_per_second, "burst": burst})

    def clock(self, now: str | None) -> None:
        """Show the rows that are published at this floating timestamp; None shows all, "system" is New York's time."""
        self.control("POST", "clock", {"now": now})

    def tokens(self, *tokens: str) -> None:
        """Accept these tokens only; without any, all."""
        self.control("POST", "tokens", {"tokens": list(tokens) or None})

    def stats(self) -> dict[str, Any]:
        """What answering took so far: ``requests``, ``statuses``, ``rows``, ``bytes``, ``busy_s``, ``cpu_s``."""
        return self.control("GET", "stats")

    def log(self) -> list[dict[str, Any]]:
        """Requests as received: ``params``, ``token``, ``token_in``, ``status``, ``rows``, ``busy_s``, ``fault``."""
        requests: list[dict[str, Any]] = self.control("GET", "log")["requests"]
        return requests

    def forget(self) -> None:
        """Clear log and stats."""
        self.control("DELETE", "log")

    def reset(self) -> None:
        """Back to a server without faults, limits, clock and memory; datasets stay."""
        self.faults()
        self.latency(0)
        self.throttle(None)
        self.clock(None)
        self.tokens()
        self.forget()

    def get(self, dataset: str = DATASET, **params: str | int) -> list[dict[str, Any]]:
        """Ask as a plain client does; ``get(where="…")`` sends ``$where``.

        Raises:
            RefusedError: the server did.
        """
        query = urllib.parse.urlencode({f"${name}": value for name, value in params.items()})
        rows: list[dict[str, Any]] = self._request("GET", f"/resource/{dataset}.json?{query}")
        return rows

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to the control plane.

        Raises:
            RefusedError: the server did.
        """
        document: dict[str, Any] = self._request(method, f"/_control/{path}", body)
        return document

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=120)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            document = json.load(answer)
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RefusedError(answer.status, document)
        return document


class SocrataServer(SocrataClient):
    """A server process of the test's own."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        super().__init__(url)
        self.process = process

    @classmethod
    def start(cls, *arguments: str, port: int = 0, log: Path | None = None) -> "SocrataServer":
        """Start it on a port (0: any that is free) and wait until it answers; its standard error goes to ``log``."""
        command = [sys.executable, str(SERVER), "--port", str(port), *arguments]
        with (log or Path(os.devnull)).open("ab") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), f"the server did not start; exit code {process.wait()}"
        return cls(process, url)

    def stop(self) -> int:
        """End it with SIGTERM, by force after ten seconds; its exit code."""
        self.process.terminate()
        try:
            self.process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.returncode


@contextmanager
def socrata_server(*arguments: str) -> Iterator[SocrataServer]:
    """A server for a block; it must end cleanly.

    For a fixture::

        @pytest.fixture(scope="module")
        def running() -> Iterator[SocrataServer]:
            with socrata_server() as server:
                yield server
    """
    server = SocrataServer.start(*arguments)
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0, f"the server ended with exit code {code}"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
