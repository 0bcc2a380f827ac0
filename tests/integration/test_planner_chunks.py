"""A planner as it is deployed, over the emulated stack and a real PostgreSQL server: runs of the conflict report."""

from collections.abc import AsyncIterator, Sequence
from datetime import date
from uuid import uuid4

import pytest

from contracts.catalog import CHUNK_COMMANDS
from contracts.chunks import ChunkPayload, ProcessChunk
from contracts.envelope import Message, Payload, open_message
from contracts.plans import PlanPreview
from contracts.runs import PlanRun, RunMode, RunState, ScheduledScan
from services.console.demo.home_care import HomeCare, fill
from services.planner.bootstrap import build
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.clock import SystemClock
from services.runtime.deliveries import BatchHandler, Delivery, Outcome
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.postgres_support import Database

JOB, SECRET = "conflict_report", "home-care"
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 30)
PAYLOAD = ChunkPayload(first_day=FIRST, last_day=LAST, target_rows=500)
VISITS = 2_000


class Deployment:
    """One planner, and what can be seen of its work."""

    def __init__(self, stack: Stack, clients: Clients, database: Database, plan: BatchHandler) -> None:
        self.database = database
        self._clients, self._plan = clients, plan
        self._state, self._queue = stack.resource("state"), stack.resource("chunk-jobs")
        self.objects = S3Objects(clients.s3)
        self.plans = StoredChunkPlans(self.objects, self._state)
        self.ledger = DynamoLedger(clients.dynamodb, stack.resource("ledger"), SystemClock())
        self.entries = DynamoChunkLedger(clients.dynamodb, stack.resource("ledger"), SystemClock())

    async def deliver(self, payload: Payload, *, receives: int = 1) -> Outcome:
        """Hand a request to the planner."""
        now = SystemClock().now()
        message = Message.wrap(payload, message_id=uuid4(), run_id="operator", occurred_at=now)
        return await self._plan([Delivery("d", message.model_dump_json(), receives)])

    async def run(self, run_id: str, *, receives: int = 1, **more: object) -> Run:
        """Hand over a request that must be done with; the run afterwards."""
        request = {"pipeline": JOB, "run_id": run_id, "chunk": PAYLOAD} | more
        outcome = await self.deliver(PlanRun.model_validate(request), receives=receives)
        assert not outcome.failed, outcome.reasons
        run = await self.ledger.run(run_id)
        assert run is not None
        return run

    async def preview(self, run_id: str) -> PlanPreview:
        """What a dry run shows."""
        outcome = await self.deliver(PlanRun(pipeline=JOB, run_id=run_id, chunk=PAYLOAD, dry_run=True))
        assert not outcome.failed, outcome.reasons
        stored = await self.objects.get(self._state, f"plans/{run_id}/preview.json")
        return PlanPreview.model_validate_json(stored.body)

    async def received(self) -> list[tuple[str, str]]:
        """What waited for the chunk workers, as (run, chunk); it is taken out."""
        url = (await self._clients.sqs.get_queue_url(QueueName=self._queue))["QueueUrl"]
        found: list[tuple[str, str]] = []
        while messages := (await self._clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get(
            "Messages", []
        ):
            for message in messages:
                _, command = open_message(message["Body"], CHUNK_COMMANDS)
                assert isinstance(command, ProcessChunk)
                found.append((command.run_id, command.chunk_id))
                await self._clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found, key=lambda each: int(each[1]))

    async def chunks(self, run_id: str) -> list[ChunkEntry]:
        """The run's chunks in the run ledger."""
        return await self.entries.chunks(run_id)

    async def rows(self, query: str, *given: object) -> Sequence[tuple[object, ...]]:
        """What the database answers."""
        connection = await self.database.connect()
        try:
            return [tuple(record) for record in await connection.fetch(query, *given)]
        finally:
            await connection.close()


@pytest.fixture
async def deployment(
    stack: Stack, clients: Clients, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Deployment]:
    """A planner whose database has visits of thirty days."""
    folder = PROJECT / "pipelines" / JOB / "sql"
    connection = await database.connect()
    try:
        await connection.execute((folder / "ddl.sql").read_text(encoding="utf-8"))
        await fill(connection, HomeCare(VISITS, FIRST, days=30, skewed=600))
    finally:
        await connection.close()
    await clients.secretsmanager.create_secret(Name=SECRET, SecretString=database.secret)
    monkeypatch.setenv("POSTGRES_SECRET_ARN", SECRET)
    async with build() as plan:
        yield Deployment(stack, clients, database, plan)


async def test_a_run_is_planned(deployment: Deployment) -> None:
    """Snapshot, chunks of whole keys, their keys under their digests, both ledgers, and a command for each chunk."""
    run = await deployment.run("r1")
    plan = await deployment.plans.find("r1")
    assert plan is not None
    ids = [chunk.chunk_id for chunk in plan.chunks]
    assert (run.mode, run.state, run.planned, run.scan.listed) == (RunMode.CHUNKS, RunState.RUNNING, len(ids), VISITS)
    assert (plan.first_day, plan.last_day, plan.rows) == (FIRST, LAST, VISITS)
    assert ids == [str(n) for n in range(len(ids))]
    assert [chunk.rows for chunk in plan.chunks if chunk.rows > 500] == [600]
    assert plan.warnings == []
    assert await deployment.received() == [("r1", chunk_id) for chunk_id in ids]
    entries = await deployment.chunks("r1")
    assert [(entry.chunk_id, entry.state, entry.rows) for entry in entries] == [
        (chunk.chunk_id, ChunkState.PLANNED, chunk.rows) for chunk in plan.chunks
    ]
    assert await deployment.rows("SELECT job, run_id FROM tidegate_jobs") == [(JOB, "r1")]
    assert await deployment.rows(
        "SELECT chunk_id, state, planned_rows FROM tidegate_chunks WHERE run_id = 'r1' ORDER BY chunk_id::int"
    ) == [(chunk.chunk_id, "planned", chunk.rows) for chunk in plan.chunks]
    keys = []
    for chunk in plan.chunks:
        assert chunk.sha256 is not None
        kept = await deployment.plans.keys("r1", chunk.sha256)
        keys += list(zip(*kept.values, strict=True))
    expected = await deployment.rows('SELECT DISTINCT "VisitDate"::text, "SSN" FROM conflictvisitmaps')
    assert len(keys) == plan.keys == len(expected)
    assert set(keys) == set(expected)


async def test_a_repetition_changes_nothing(deployment: Deployment) -> None:
    """Neither the snapshot nor the plan, and nothing is dispatched twice; a second run waits."""
    await deployment.run("r1")
    taken = "SELECT prepared_at FROM tidegate_jobs"
    before = (await deployment.rows(taken), await deployment.plans.find("r1"), await deployment.chunks("r1"))
    assert await deployment.received()
    await deployment.run("r1")
    assert (await deployment.rows(taken), await deployment.plans.find("r1"), await deployment.chunks("r1")) == before
    assert await deployment.received() == []
    outcome = await deployment.deliver(PlanRun(pipeline=JOB, run_id="r2"))
    assert outcome.reasons == {"d": f"run r1 of {JOB} has not ended yet"}


async def test_a_dry_run_writes_nothing(deployment: Deployment) -> None:
    """It shows the chunks that the run makes then, and leaves the database without any table of ours."""
    preview = await deployment.preview("dry")
    assert preview.error is None
    assert await deployment.rows("SELECT to_regclass('tidegate_jobs')::text") == [(None,)]
    assert (await deployment.ledger.run("dry"), await deployment.received()) == (None, [])
    await deployment.run("r1")
    plan = await deployment.plans.find("r1")
    assert plan is not None
    assert (preview.rows, preview.messages) == (VISITS, len(plan.chunks))
    assert [(each.segment_id, each.rows) for each in preview.segments] == [(c.chunk_id, c.rows) for c in plan.chunks]
    assert (preview.start, preview.end) == (FIRST.isoformat(), LAST.isoformat())


async def test_days_without_visits_end_at_once(deployment: Deployment) -> None:
    """The run of a schedule's slot has succeeded when it is planned, and nobody sees it in progress."""
    slot = {"pipeline": JOB, "slot": "2026-04-01T03:30:00Z"}
    days = {"first_day": "2020-01-01", "last_day": "2020-12-31"}
    outcome = await deployment.deliver(ScheduledScan.model_validate(slot | {"chunk": days}))
    assert not outcome.failed, outcome.reasons
    run = await deployment.ledger.run(f"{JOB}-slot-20260401T033000Z")
    assert run is not None
    assert (run.state, run.planned) == (RunState.SUCCEEDED, 0)
    assert await deployment.rows('SELECT "InProgressFlag", "RunID" FROM settings') == [(0, run.run_id)]


async def test_a_database_that_refuses_fails_the_run(deployment: Deployment) -> None:
    """In the server's own words; the same request plans it once that is cured."""
    deployment.database.run('ALTER TABLE conflictvisitmaps RENAME COLUMN "PZipCode" TO zip')
    run = await deployment.run("r1")
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert "task_01.sql" in run.reason
    assert "PZipCode" in run.reason
    assert await deployment.rows("SELECT run_id FROM tidegate_jobs") == []
    deployment.database.run('ALTER TABLE conflictvisitmaps RENAME COLUMN zip TO "PZipCode"')
    run = await deployment.run("r1")
    assert (run.state, run.planned) == (RunState.RUNNING, len(await deployment.received()))


async def test_a_run_goes_on_until_another_has_the_snapshot(deployment: Deployment) -> None:
    """Cancelled and resumed: its unfinished chunks come again; afterwards it cannot go on, and says why."""
    await deployment.run("r1")
    dispatched = await deployment.received()
    await deployment.ledger.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
    assert (await deployment.run("r1", resume=True)).state is RunState.RUNNING
    assert await deployment.received() == dispatched
    await deployment.ledger.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
    await deployment.run("r2")
    assert {run_id for run_id, _ in await deployment.received()} == {"r2"}
    run = await deployment.run("r1", resume=True)
    assert (run.state, run.reason) == (
        RunState.FAILED,
        "the snapshot is run r2's now: run r1 cannot go on; start a new one",
    )
    assert await deployment.received() == []


async def test_a_secret_that_is_not_there_fails_the_run(deployment: Deployment, clients: Clients) -> None:
    """By its name."""
    await clients.secretsmanager.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    run = await deployment.run("r1")
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert SECRET in run.reason
