"""State machines and chunk workers: each row is completed once, whichever of them falls over."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from contracts.runs import RunState
from services.console.local.machines import await_execution, run_execution, start_execution
from tests.e2e.chunking import Report
from tests.e2e.fleet import POLL_S, Fleet
from tests.e2e.world import World
from tests.integration.machine_support import CHUNKED, IN_ONE_PIECE, PATIENCE_S, Machines, output_of
from tests.postgres_support import Database

BROKEN = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW."UpdatedDate" IS DISTINCT FROM OLD."UpdatedDate" THEN RAISE EXCEPTION 'this one never'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON conflictvisitmaps FOR EACH ROW WHEN (NEW."ID" = 1) EXECUTE FUNCTION refuse()
"""


@pytest.fixture
async def report(fleet: Fleet, world: World, database: Database) -> AsyncIterator[Report]:
    """Visits in a database of the test's own."""
    connection = await database.connect()
    report = Report(world, fleet, database, connection)
    await report.prepare()
    yield report
    await connection.close()


@pytest.fixture
def machines(world: World) -> Machines:
    return Machines(world.session.clients, world.session.settings.stack)


async def test_a_job_in_chunks(report: Report, machines: Machines) -> None:
    """Two workers do what the state machine asks for; the same run once more has nothing to do."""
    report.fleet.start("chunk_worker")
    report.fleet.start("chunk_worker")
    for _ in range(2):
        ended = await run_execution(machines.clients, machines.stack, CHUNKED, {"run_id": "r-1"}, deadline_s=PATIENCE_S)
        output = output_of(ended)
        await report.check()
        run = await report.run("r-1")
        assert run.state is RunState.SUCCEEDED
        if results := output.get("task02_results"):
            assert len(results["chunks"]) == run.planned
            assert len(results["chunks"]) > 8
            assert sum(chunk["rows"] for chunk in results["chunks"]) == report.rows
    assert output["task02_chunks"]["chunk_ids"] == []
    assert output["task02_chunks"]["total_rows"] == report.rows


async def test_a_job_in_one_piece(report: Report, machines: Machines) -> None:
    """One statement for everything, in a run that is called as the execution is."""
    report.fleet.start("chunk_worker")
    arn = await start_execution(machines.clients, machines.stack, IN_ONE_PIECE, {}, execution="nightly-1")
    output = output_of(await await_execution(machines.clients, arn, deadline_s=PATIENCE_S))
    assert output["task_02"]["details"]["rows"] == report.rows
    assert (await report.run("nightly-1")).state is RunState.SUCCEEDED
    await report.check()


async def test_a_worker_that_is_killed(report: Report, machines: Machines) -> None:
    """Its message comes to another one, which does the chunk and answers for it."""
    await report.shut()
    worker = report.fleet.start("chunk_worker")
    arn = await start_execution(machines.clients, machines.stack, CHUNKED, {})
    await report.until_blocked()
    worker.kill()
    await report.open()
    report.fleet.start("chunk_worker")
    output_of(await await_execution(machines.clients, arn, deadline_s=PATIENCE_S))
    await report.check()


async def test_a_chunk_that_cannot_be_done(report: Report, machines: Machines) -> None:
    """It is tried four times, the last time in halves; all others are done; later only what is left of it is done."""
    await machines.hurried(CHUNKED)
    await report.connection.execute(BROKEN)
    report.fleet.start("chunk_worker")
    given = {"run_id": "r-2"}
    ended = await run_execution(machines.clients, machines.stack, CHUNKED, given, deadline_s=PATIENCE_S)
    assert (ended["status"], ended["error"]) == ("FAILED", "ChunksFailed")
    run = await report.run("r-2")
    assert (run.state, run.failed, run.settled) == (RunState.FAILED, 1, len(await report.entries("r-2")) - 1)
    assert await errors_of(machines, ended["executionArn"]) == {"ChunkRetry": 3, "ChunkFailed": 1}
    await report.connection.execute("DROP TRIGGER refuse ON conflictvisitmaps")
    ended = await run_execution(machines.clients, machines.stack, CHUNKED, given, deadline_s=PATIENCE_S)
    assert len(output_of(ended)["task02_results"]["chunks"]) == 1
    assert (await report.run("r-2")).state is RunState.SUCCEEDED
    await report.check()


async def test_a_run_that_is_paused(report: Report, machines: Machines) -> None:
    """The state machine asks again until the run goes on."""
    await machines.hurried(CHUNKED, interval_s=1)
    ledger = report.world.session.ledger
    await report.shut()
    report.fleet.start("chunk_worker")
    arn = await start_execution(machines.clients, machines.stack, CHUNKED, {"run_id": "r-3"})
    await report.until_blocked()
    assert await ledger.pause_run("r-3", paused=True)
    await report.open()
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while "RunPaused" not in await errors_of(machines, arn):
        assert asyncio.get_running_loop().time() < deadline, "no worker has said that the run is paused"
        await asyncio.sleep(POLL_S)
    assert await ledger.pause_run("r-3", paused=False)
    output_of(await await_execution(machines.clients, arn, deadline_s=PATIENCE_S))
    await report.check()


async def errors_of(machines: Machines, arn: str) -> Counter[str]:
    """How often tasks of an execution have been answered with which error so far."""
    found = Counter[str]()
    pages = machines.clients.stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    async for page in pages:
        details = [event["taskFailedEventDetails"] for event in page["events"] if "taskFailedEventDetails" in event]
        found.update(each["error"] for each in details)
    return found
