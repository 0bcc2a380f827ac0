"""The chunk worker as it is deployed: its processes, a queue, tables of DynamoDB, a bucket and a PostgreSQL server."""

import signal
import time
from pathlib import Path

import pytest

from contracts.runs import RunState
from services.runtime.aws.clients import Clients
from tests.emulator_support import Stack
from tests.integration.chunk_worker.worker_support import RUN, Items, until
from tests.postgres_support import Database

CHUNKS = [str(number) for number in range(5)]


@pytest.fixture
def items(stack: Stack, clients: Clients, database: Database, tmp_path: Path) -> Items:
    """The job, nothing of it in place yet."""
    return Items(stack, clients, tmp_path, tmp_path, database)


async def test_workers_that_are_killed_in_mid_chunk(items: Items) -> None:
    """Their chunks are done by others, each row once, and the run ends well."""
    await items.create(seconds=0.4)
    assert items.act("task_01", run_id=RUN)["snapshot_taken"]
    assert items.act("get_task02_chunks")["chunk_ids"] == CHUNKS
    await items.dispatch(*CHUNKS, *CHUNKS)
    with items.worker() as first, items.worker():

        async def marked() -> bool:
            return any(state == "marked" for state, _ in (await items.chunks()).values())

        await until(marked)
        first.kill()

        async def over() -> bool:
            return (await items.run()).state is RunState.SUCCEEDED

        await until(over)
    assert [tuple(row) for row in await items.ask("SELECT done, locked, count(*) FROM items GROUP BY 1, 2")] == [
        (1, False, 200)
    ]
    assert {state for state, _ in (await items.chunks()).values()} == {"done"}


async def test_a_worker_that_is_stopped_gives_its_chunk_back(items: Items) -> None:
    """Its transaction is rolled back, its attempt does not count, and another has the chunk at once."""
    await items.create(seconds=30)
    await items.plan()
    await items.dispatch("3")
    with items.worker(TIDEGATE_GRACE_S="0.2") as worker:

        async def working() -> bool:
            busy = await items.ask(
                "SELECT FROM pg_stat_activity WHERE query LIKE 'WITH slow%' AND state = 'active' "
                "AND datname = current_database()"
            )
            return len(busy) == 1

        await until(working)
        assert (await items.chunks())["3"] == ("marked", 1)
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert worker.wait(30) == 0
        assert time.monotonic() - began < 15
    assert (await items.chunks())["3"] == ("marked", 0)
    assert [row["done"] for row in await items.ask("SELECT DISTINCT done FROM items")] == [0]
    assert not await working()
    lease = await items.clients.dynamodb.get_item(
        TableName=items.stack.resource("leases"), Key={"resource": {"S": f"chunk:{RUN}/3"}}
    )
    assert "owner" not in lease["Item"]
