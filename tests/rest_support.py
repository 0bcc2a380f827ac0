"""A sample commerce API of a test's own, the control plane's client, and records that are read from it."""

import http.client
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.loads import START_OF_TIME, FetchSlice, Slice
from contracts.pipelines import Pipeline
from contracts.runs import LoadType
from contracts.sources import RestSource
from services.fetcher.adapters.rest import RestRecords
from services.runtime.declarations import load_pipelines
from services.runtime.http.retries import RetryPolicy
from services.runtime.settings import PROJECT
from tests.fakes.budgets import FakeRateBudget
from tests.fakes.secrets import FakeSecrets
from tests.unit.runtime.scripted_portal import Time

SERVER = PROJECT / "localstack" / "commerce" / "server.py"
STOP_GRACE_S = 10.0
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"
SECRET = "ecom-payments-api-key"  # noqa: S105 - a secret's name
PAYMENTS, SHIPMENTS = "payments", "shipments"

Record = Mapping[str, Any]


class CommerceRefusedError(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class CommerceServer:
    """A server process of the test's own. Every method but ``get`` is a request to its control plane."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process = process
        self.url = url

    @classmethod
    def start(cls, folder: Path, *arguments: str, key: str = KEY) -> "CommerceServer":
        """Start it on any free port and wait until it answers; its key lies in ``folder``."""
        (folder / "api-key").write_text(key, encoding="ascii")
        command = [sys.executable, str(SERVER), "--key-file", str(folder / "api-key"), *arguments]
        with Path(os.devnull).open("ab") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), f"the server did not start; exit code {process.wait()}"
        return cls(process, url)

    def stop(self) -> int:
        """End it with SIGTERM, by force after ten seconds; its exit code."""
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self._ended()

    def put(self, records: Sequence[Record] | str, entity: str = PAYMENTS) -> None:
        """Add records, or change those whose keys are there; text is sent as it is."""
        self._control("POST", f"records/{entity}", records)

    def replace(self, records: Sequence[Record] | str, entity: str = PAYMENTS) -> None:
        """These records and no others."""
        self._control("PUT", f"records/{entity}", records)

    def keys(self, *keys: str) -> None:
        """Accept these keys only."""
        self._control("POST", "keys", {"keys": keys})

    def behave(self, **how: Any) -> None:
        """Set what kind of an API it is (``Behaviour`` in ``localstack/commerce``); the rest is as usual."""
        self._control("POST", "behaviour", how)

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Replace the fault rules; without any nothing goes wrong any more."""
        self._control("POST", "faults", {"rules": rules})

    def fired(self) -> list[int]:
        """How many requests each rule has struck."""
        return [rule["fired"] for rule in self._control("GET", "faults")["rules"]]

    def log(self) -> list[dict[str, Any]]:
        """Requests as received: ``entity``, ``params``, ``status``, ``records``."""
        found: list[dict[str, Any]] = self._control("GET", "log")["requests"]
        return found

    def asked(self) -> list[dict[str, str]]:
        """The parameters of each request."""
        return [request["params"] for request in self.log()]

    def forget(self) -> None:
        """Clear the log."""
        self._control("DELETE", "log")

    def reset(self) -> None:
        """A server without records, trouble and memory."""
        for entity in (PAYMENTS, SHIPMENTS):
            self.replace([], entity)
        self.keys(KEY)
        self.behave()
        self.faults()
        self.forget()

    def get(self, path: str = "/payments", key: str | None = KEY, **params: str | int) -> dict[str, Any]:
        """Ask as a client does.

        Raises:
            CommerceRefusedError: the server refused.
        """
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        document: dict[str, Any] = self._request("GET", path + query, None, {} if key is None else {"x-api-key": key})
        return document

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        return self._request(method, f"/_control/{path}", text, {})

    def _request(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Any:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, None if body is None else body.encode(), dict(headers))
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise CommerceRefusedError(answer.status, text)
        return json.loads(text)

    def _ended(self) -> int:
        try:
            code = self.process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


@contextmanager
def commerce_server(folder: Path, *arguments: str) -> Iterator[CommerceServer]:
    """A server for a block; it must end cleanly."""
    server = CommerceServer.start(folder, *arguments)
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0, f"the server ended with exit code {code}"


def payment(number: int, at: str, **more: Any) -> dict[str, Any]:
    """A payment that changed at a moment of 15 January 2026: ``HH:MM:SS`` with whatever follows."""
    return {
        "payment_id": f"pay-{number:04d}",
        "order_id": number,
        "amount": 12.5,
        "currency": "USD",
        "updated_at": f"2026-01-15T{at}",
        **more,
    }


def shipment(number: int, at: str, **more: Any) -> dict[str, Any]:
    """A shipment likewise."""
    return {"shipment_id": f"shp-{number:04d}", "order_id": number, "updated_at": f"2026-01-15T{at}", **more}


TEN = [payment(n, f"10:{n:02d}:00Z") for n in range(10)]
"""One payment a minute."""


def pipeline_of(entity: str, url: str, /, **source: Any) -> Pipeline:
    """An entity of the shop whose API is at ``url``; ``source`` replaces fields of the declaration."""
    pipelines = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": url})
    pipeline = pipelines[f"ecommerce.{entity}"]
    declared = pipeline.source.model_dump() | {"requests_per_second": 1_000.0} | source
    return pipeline.model_copy(update={"source": RestSource.model_validate(declared)})


def command_of(pipeline: Pipeline, start: str, end: str) -> FetchSlice:
    """The command to read a window; bounds are times of 15 January 2026 unless they say a day."""
    bounds = {name: at if "-" in at else f"2026-01-15T{at}.000000" for name, at in (("start", start), ("end", end))}
    return FetchSlice(
        pipeline=pipeline.name,
        run_id="run",
        segment_id="segment",
        run_date="2026-01-15",
        load_type=LoadType.FULL if start == START_OF_TIME else LoadType.INCREMENTAL,
        fields=[],
        slice=Slice(**bounds),
        expected_rows=0,
    )


@dataclass
class Reader:
    """Reads records of a server; its time is the test's, and its dice always fall highest."""

    records: RestRecords
    secrets: FakeSecrets
    budget: FakeRateBudget
    time: Time

    async def lines(self, pipeline: Pipeline, start: str = START_OF_TIME, end: str = "23:00:00") -> list[bytes]:
        """Every line of a window; each block is checked to hold whole ones."""
        found: list[bytes] = []
        async for block in self.records.read(pipeline, command_of(pipeline, start, end)):
            lines = block.lines.split(b"\n")
            assert lines.pop() == b""
            assert 0 < len(lines) == block.rows
            found += lines
        return found

    async def numbers(self, pipeline: Pipeline, start: str = START_OF_TIME, end: str = "23:00:00") -> list[int]:
        """The order numbers of those records."""
        return [json.loads(line)["order_id"] for line in await self.lines(pipeline, start, end)]


@asynccontextmanager
async def open_reader(secret: str = KEY, policy: RetryPolicy | None = None) -> AsyncIterator[Reader]:
    """A reader whose secret holds this text."""
    time = Time()
    budget, secrets = FakeRateBudget(time.clock), FakeSecrets(time.clock)
    secrets.stored[SECRET] = secret
    records = RestRecords(
        budget, secrets, clock=time.clock, policy=policy or RetryPolicy(), sleep=time.sleep, dice=lambda: 1.0
    )
    async with records:
        yield Reader(records, secrets, budget, time)
