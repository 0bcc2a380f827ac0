"""The fetcher as a worker process, between a database, a queue and a bucket."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pytest

from contracts.loads import FetchSlice
from contracts.runs import RunMode, RunState
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.ledger import Run, ScanCounts
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.integration.queue_support import until
from tests.postgres_support import Database
from tests.unit.fetcher.slice_world import NAME, RUN_ID, command, read_landing

ROWS = 6_000
TYPES = {"order_id": "int64", "total": "decimal(12,2)", "ordered_on": "date", "updated_at": "timestamp_us_utc"}
GROUP = """
name = "shop"
[sources.rds]
kind = "postgres"
secret = "${RDS_SECRET_ARN}"
cursor = "updated_at"
[target]
kind = "bronze"
prefix = "data/bronze/"
logs = "logs/"
[entities.orders]
source = "rds"
key = ["order_id"]
event_date = "ordered_on"
"""


@pytest.fixture
def pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one group, which the environment names."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "shop.toml").write_text(GROUP)
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TIDEGATE_PIPELINES", str(folder))
    monkeypatch.setenv("TIDEGATE_SPOOL_DIR", str(spool))
    monkeypatch.setenv("RDS_SECRET_ARN", "shop-rds")
    monkeypatch.setenv("TIDEGATE_POLL_S", "1")
    return folder


@asynccontextmanager
async def worker(log: Path) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """A worker process for a block."""
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - it lives beside the test
            [sys.executable, "-m", "services.fetcher.worker"],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def slices(rows: int, count: int) -> list[FetchSlice]:
    """Commands for a table whose keys count from 1."""
    borders = [None, *([str(rows * n // count)] for n in range(1, count)), None]
    return [
        command(TYPES, segment_id=f"s{n}", undated=True, after=after, upto=upto)
        for n, (after, upto) in enumerate(pairwise(borders))
    ]


@pytest.mark.usefixtures("pipelines")
async def test_a_worker(database: Database, stack: Stack, clients: Clients, tmp_path: Path) -> None:
    """It takes commands from the queue and leaves landing files of all rows, and no secret in its log."""
    database.run(
        "CREATE TABLE orders (order_id bigint PRIMARY KEY, total numeric(12,2), ordered_on date,"
        " updated_at timestamptz)",
        "INSERT INTO orders SELECT n, n / 100.0, date '2025-01-01' + n % 3, '2025-01-01Z'"  # noqa: S608
        f" FROM generate_series(1, {ROWS}) n",
    )
    await clients.secretsmanager.create_secret(Name="shop-rds", SecretString=database.secret)
    ledger = DynamoLedger(clients.dynamodb, stack.resource("ledger"), SystemClock())
    publisher = AwsPublisher(clients.sqs, clients.sns, stack.name, SystemClock())
    commands = slices(ROWS, 4)
    await ledger.open_run(Run(RUN_ID, NAME, RunMode.INCREMENTAL, RunState.PLANNING, SystemClock().now().isoformat()))
    await ledger.plan_segments(RUN_ID, [(each.segment_id, 0) for each in commands])
    await ledger.start_run(RUN_ID, planned=len(commands), scan=ScanCounts(), frontier=None)
    log = tmp_path / "worker.log"
    async with worker(log) as process:
        await publisher.send("fetch-segments", commands, run_id=RUN_ID)

        async def fetched() -> bool:
            return all(entry.fetched is not None for entry in await ledger.segments(RUN_ID))

        await until(fetched)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    seen: list[int] = []
    for entry in await ledger.segments(RUN_ID):
        bucket, _, key = (entry.raw_location or "").partition("/")
        answer = await clients.s3.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as stream:
            landing, [table] = read_landing(await stream.read())
        assert answer["Metadata"] == {"tidegate-rows": str(landing.rows)} == {"tidegate-rows": str(ROWS // 4)}
        assert [day.rows for day in landing.chunks[0].days] == [ROWS // 12] * 3
        seen += table.column("order_id").to_pylist()
        assert pc.all(pc.equal(pc.multiply(table.column("total"), 100), table.column("order_id"))).as_py()
    assert sorted(seen) == list(range(1, ROWS + 1))
    text = log.read_text()
    assert database.server.password not in text
    assert "defect" not in text
    assert list((tmp_path / "spool").iterdir()) == []
