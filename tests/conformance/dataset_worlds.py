"""Datasets to ask, in memory and on a server, and the rows that are published in them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts.fetching import KeyRange
from contracts.sources import SocrataSource
from services.runtime.datasets import Dataset, Position, position_of
from services.runtime.http.retries import RetryPolicy
from services.runtime.socrata.client import SocrataDatasets
from tests.fakes.budgets import FakeRateBudget
from tests.socrata_support import DATASET, SocrataServer
from tests.unit.runtime.scripted_portal import PIPELINE, ScriptedToken, Time, pipelines_over

Row = dict[str, Any]

SOURCE = SocrataSource(
    kind="socrata",
    dataset=DATASET,
    where="status in ('Open', 'In Progress')",
    cursor="created_date",
    unique_key="unique_key",
    requests_per_second=10_000.0,
)
COLUMNS = {"unique_key": "text", "created_date": "floating_timestamp", "status": "text"}
YEAR = KeyRange(start="2026-01-01T00:00:00.000", before="2027-01-01T00:00:00.000")


def row(key: str, at: str, status: str = "Open", **more: Any) -> Row:
    """A row of August 2026; ``at`` is ``DDTHH:MM:SS``."""
    return {"unique_key": key, "created_date": f"2026-08-{at}.000", "status": status, **more}


def cursor(at: str) -> str:
    """The cursor of such a row."""
    return f"2026-08-{at}.000"


MIXED = [
    row("07", "01T00:00:00"),
    row("3", "01T09:00:00", "In Progress"),
    row("20", "01T09:00:00"),
    row("100", "01T09:00:00", "Closed"),
    row("1", "01T23:59:59"),
    row("9", "02T00:00:00"),
    row("8", "02T00:00:00"),
    row("10", "02T00:00:00"),
    row("2", "04T12:00:00"),
    row("5", "04T12:00:00", "Closed"),
    {"unique_key": "6", "status": "Open"},
]
IN_ORDER = ["07", "20", "3", "1", "10", "8", "9", "2"]
"""The keys of the rows that are wanted and have a cursor, by (cursor, key)."""


@dataclass
class World:
    """A dataset, and the hand that publishes rows in its source."""

    dataset: Dataset
    publish: Callable[[list[Row]], object]
    cap: Callable[[int], object]
    """Let the source answer with so many rows at most, whatever it is asked for."""

    async def rows(self, within: KeyRange, limit: int = 1_000, after: Position | None = None) -> list[Row]:
        """Every row of a range, page by page; each page is checked to be whole lines of one object."""
        found: list[Row] = []
        while True:
            block = await self.dataset.page(within, after, limit)
            assert block.rows <= limit
            assert block.lines.count(b"\n") == block.rows
            if not block.rows:
                assert block.lines == b""
                return found
            assert block.lines.endswith(b"\n")
            found += [json.loads(line) for line in block.lines.split(b"\n")[:-1]]
            assert json.loads(block.last_line) == found[-1]
            after = position_of(block.last_line, SOURCE)

    async def keys(self, within: KeyRange, limit: int = 1_000, after: Position | None = None) -> list[str]:
        """The keys of those rows."""
        return [found["unique_key"] for found in await self.rows(within, limit, after)]


@dataclass
class Client:
    """A client of the server, whose time is the test's."""

    datasets: SocrataDatasets
    time: Time
    budget: FakeRateBudget

    @property
    def dataset(self) -> Dataset:
        """The dataset it reads."""
        return self.datasets.of(PIPELINE)


def client_of(server: SocrataServer, token: str | None = None, silence_s: float = 30.0, **source: Any) -> Client:
    """A client that is not opened yet; ``source`` replaces fields of the declaration."""
    time = Time()
    budget = FakeRateBudget(time.clock)
    pipeline = pipelines_over(SOURCE.model_copy(update={"domain": server.url, **source}))
    arguments = () if token is None else (ScriptedToken(token),)
    policy = RetryPolicy(silence_s=silence_s)
    datasets = SocrataDatasets(
        pipeline, budget, *arguments, clock=time.clock, policy=policy, sleep=time.sleep, dice=lambda: 1.0
    )
    return Client(datasets, time, budget)


def emptied(server: SocrataServer) -> SocrataServer:
    """The server without faults and memory, its dataset without rows."""
    server.reset()
    server.load([], columns=COLUMNS, key=SOURCE.unique_key)
    return server


def world_on(server: SocrataServer, client: Client) -> World:
    """The server's dataset as a client sees it."""
    return World(client.dataset, server.publish, lambda rows: server.faults({"cap": rows}))
