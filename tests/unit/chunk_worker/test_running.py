"""Batches, log lines, metrics, the end of runs, and the shells."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
from structlog.testing import capture_logs

from contracts.runs import RunState
from services.chunk_worker import action
from services.chunk_worker.bootstrap import ChunkWorker
from services.chunk_worker.handler import ChunkFunction
from services.chunk_worker.ports import Memory, Work
from services.chunk_worker.use_case import work_batch
from services.runtime.deliveries import Delivery
from services.runtime.failures import MalformedError, PermanentError
from tests.unit.chunk_worker.world import NAME, RUN, World, body, broken


@pytest.fixture
async def world() -> World:
    """A run of two chunks of two keys each, planned."""
    world = World()
    await world.plan()
    return world


async def test_an_unreadable_message_is_the_queues(world: World) -> None:
    """The others of its batch are done."""
    outcome = await work_batch(world.ports(), [Delivery("bad", "{}"), Delivery("good", body(world.chunk()))])
    assert outcome.failed == {"bad": None}
    assert "not a message envelope" in outcome.reasons["bad"]


async def test_a_dlq_that_is_not_there(world: World) -> None:
    """The message is kept rather than lost."""
    del world.publisher.sent["chunk-jobs-dlq"]
    assert (await world.deliver(world.chunk("77"))).failed == {"m0": None}


async def test_the_log_lines_of_a_chunk(world: World) -> None:
    """Estimated rows, dates and SSNs; rows marked; rows updated and how fast. No line holds a key."""

    async def working(_: Work) -> None:
        world.clock.advance(2.5)

    with capture_logs() as lines:
        await world.deliver(world.chunk(), ports=world.ports(working=working))
    events = [line["event"] for line in lines if line["event"].startswith("Chunk 0: ")]
    assert events == [
        "Chunk 0: 10 estimated rows, 2 dates, 2 SSNs",
        "Chunk 0: Marked 10 rows for processing",
        "Chunk 0: Updated 10 rows in 2.50 seconds",
        "Chunk 0: Throughput: 4.0 rows/sec",
    ]
    assert "ssn-" not in repr(lines)


async def test_a_process_learns_how_fast_its_chunks_are() -> None:
    """The first chunk is marked, the next only if it will take longer than the job says."""
    world = World(keys=8)
    await world.plan()
    seconds = {"0": 1.0, "1": 1.0, "2": 9.0, "3": 1.0}

    async def working(work: Work) -> None:
        world.clock.advance(seconds[work.chunk_id])

    ports = world.ports(working=working, memory=Memory())
    for chunk_id in seconds:
        await world.deliver(world.chunk(chunk_id), ports=ports)
    marked = [(await world.entry(chunk_id)).marked for chunk_id in seconds]
    assert marked == [10, 0, 0, 0]
    assert (await world.entry("2")).seconds == 9.0
    rates = [point.value for point in world.telemetry.published if point.name == "ChunkRate"]
    assert rates == [10.0, 10.0, pytest.approx(10 / 9), 10.0]
    assert ports.memory.paces[NAME] == pytest.approx(7.778, abs=0.01)


async def test_metrics(world: World) -> None:
    """Of what is done, what failed and what was held back, once each."""
    world.database.fail("update 1", *broken(1))
    await world.deliver(world.chunk("0"), world.chunk("1"))
    await world.deliver(world.chunk("0"))
    points = {point.name: point.value for point in world.telemetry.published}
    assert points == {
        "RowsMarked": 10,
        "AttemptsFailed": 1,
        "ChunksDone": 1,
        "RowsIn": 10,
        "RowsOut": 10,
        "RowsUpdated": 10,
        "RowsGone": 0,
        "ChunkTime": 0,
        "Duplicates": 10,
    }
    assert ("mark",) in world.telemetry.segments
    assert ("update",) in world.telemetry.segments


async def test_a_run_that_cannot_be_ended(world: World) -> None:
    """Three times it is tried again; then the run has failed, and the message waits in the DLQ to try it anew."""
    await world.deliver(world.chunk("0"))
    world.database.fail("finish", *[PermanentError("finish.sql: no such column") for _ in range(4)])
    assert await world.drive(world.chunk("1")) == 4
    assert (await world.run()).state is RunState.FAILED
    assert len(world.dead()) == 1
    await world.deliver(world.chunk("1"))
    await world.succeeded(records=20)


async def test_chunks_may_come_before_their_plan_is_complete(world: World) -> None:
    """A planner that dispatches before it says so loses nothing."""
    run = await world.run()
    planning = type(run)(run.run_id, run.pipeline, run.mode, RunState.PLANNING, run.started_at, scan=run.scan)
    world.ledger.table.runs[RUN] = planning
    await world.deliver(world.chunk("0"), world.chunk("1"))
    assert (await world.run()).settled == 2
    await world.ledger.start_run(RUN, planned=2, scan=run.scan, frontier=None)
    await world.ports().completion.complete(world.job, RUN)
    await world.succeeded(records=20)


def test_the_function_takes_batches_and_actions() -> None:
    """One Lambda handler, one event loop, opened once."""
    world = World()
    opened = []

    @asynccontextmanager
    async def build() -> AsyncIterator[ChunkWorker]:
        opened.append(1)
        yield ChunkWorker(world.ports())

    handler = ChunkFunction(build)
    result = handler({"action": "task_01", "payload": {"run_id": RUN}}, None)
    assert (result["action"], result["status"], result["run_id"]) == ("task_01", "success", RUN)
    assert handler({"action": "get_task02_chunks"}, None)["details"]["chunk_ids"] == ["0", "1"]
    records = [
        {"messageId": f"m{n}", "eventSource": "aws:sqs", "body": body(world.chunk(str(n))), "attributes": {}}
        for n in (0, 1)
    ]
    assert handler({"Records": records}, None) == {"batchItemFailures": []}
    assert world.times_done() == {1}
    assert len(opened) == 1
    with pytest.raises(MalformedError, match="there is no action"):
        handler({"action": "nothing"}, None)
    with pytest.raises(MalformedError, match="not an SQS batch"):
        handler({}, None)


@asynccontextmanager
async def unplanned() -> AsyncIterator[ChunkWorker]:
    """A worker whose job is not planned yet."""
    yield ChunkWorker(World().ports())


def test_the_command_line_prints_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object on standard output."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        code = action.main(["task_01", "--job", NAME, "--payload", json.dumps({"run_id": RUN})], unplanned)
    finally:
        structlog.reset_defaults()
    assert (code, json.loads(capsys.readouterr().out)["run_id"]) == (0, RUN)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["task_03"], 2, "error: there is no action 'task_03'; there are validate_config, test_postgres, "),
        ([], 2, "error: the following arguments are required: NAME"),
        (["task_01", "--payload", "{"], 2, "error: --payload is not JSON: "),
        (["task_01", "--payload", "[]"], 2, "error: --payload is not a JSON object"),
        (["task_01", "--job", "x"], 2, "error: there is no chunked job 'x' here"),
        (["task_02"], 1, "error: conflict_report has no snapshot yet: task_01 takes one"),
        (["process_task02_chunk", "--payload", '{"run_id": "r", "chunk_id": "0"}'], 1, "error: there is no run r of"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """In one line on standard error, with nothing on standard output."""
    assert action.main(arguments, unplanned) == code
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.startswith(words)
    assert errors.count("\n") == 1
