"""What the tests of chunk workers share: a database of visits that notes every update, and what must come of them."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg

from contracts.chunks import ProcessChunk
from contracts.runs import PlanRun, RunState
from services.console.demo.home_care import HomeCare, fill
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.errors import translated
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT
from tests.e2e.fleet import PATIENCE_S, POLL_S, Fleet
from tests.e2e.world import World
from tests.integration.conflict_report.report_support import CHUNKS, digest, sql
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"

JOB = "conflict_report"
SECRET = "conflict-report-postgres"  # noqa: S105 - the name of a secret
QUEUE = "chunk-jobs"
GATE = 4711
DAYS = 30
SMALL = HomeCare(visits=2_400, first_day=datetime.now(UTC).date() - timedelta(days=DAYS), days=DAYS, skewed=400)
TINY = HomeCare(visits=600, first_day=datetime.now(UTC).date() - timedelta(days=DAYS), days=DAYS, skewed=90)
DECLARED = {"target_rows": "300", "max_rows": "350", "max_keys": "80", "mark_after_s": "0.0", "idle_timeout_s": "3"}
SETTINGS = {"TIDEGATE_LEASE_TTL_S": "4", "TIDEGATE_WORKER_VISIBILITY_S": "4", "TIDEGATE_RUN_EXCLUSIVE_S": "5"}

AUDIT = (
    "CREATE TABLE audit (id bigint NOT NULL, updated boolean NOT NULL, flag smallint)",
    f"""
    CREATE FUNCTION note_update() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW."UpdatedDate" IS DISTINCT FROM OLD."UpdatedDate" THEN
            PERFORM pg_advisory_xact_lock_shared({GATE});
        END IF;
        INSERT INTO audit VALUES (NEW."ID", NEW."UpdatedDate" IS DISTINCT FROM OLD."UpdatedDate", NEW."UpdateFlag");
        RETURN NEW;
    END $$
    """,  # noqa: S608 - a number of our own
    "CREATE TRIGGER note_update BEFORE UPDATE ON conflictvisitmaps FOR EACH ROW EXECUTE FUNCTION note_update()",
)
"""Every update of a row is noted in its own transaction; one that completes a row first has to pass a gate."""


@dataclass
class Report:
    """One test's database, the services that work on it, and what they must leave."""

    world: World
    fleet: Fleet
    database: Database
    connection: Connection
    expected: tuple[int, int] = (0, 0)
    rows: int = 0
    wrong: list[str] = field(default_factory=list)
    """What samples of the status queries found that was not true."""

    async def prepare(self, size: HomeCare = SMALL, *, change: str | None = None, **declared: str) -> None:
        """Fill the database, compute what must come of it, declare the job, and keep its secret.

        ``change`` is a statement that somebody else will execute while the run works.
        """
        for name in ("tables", "ddl", "rules"):
            await self.connection.execute(sql(name))
        await fill(self.connection, size)
        self.expected, self.rows = await self._in_one_statement(change), size.visits
        for statement in AUDIT:
            await self.connection.execute(statement)
        folder = self.fleet.folder / "pipelines"
        shutil.copytree(PROJECT / "pipelines" / JOB, folder / JOB)
        shutil.copy(PROJECT / "pipelines" / "visit_events.toml", folder)
        path = folder / JOB / "job.toml"
        text = path.read_text(encoding="utf-8")
        for name, value in (DECLARED | declared).items():
            text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        path.write_text(text, encoding="utf-8")
        self.fleet.settings |= SETTINGS | {"TIDEGATE_PIPELINES": str(folder)}
        await self.keep_secret(self.database.secret)

    async def keep_secret(self, text: str, name: str = SECRET) -> None:
        """Put the connection's secret, or replace it."""
        manager = self.world.session.clients.secretsmanager
        try:
            await manager.create_secret(Name=name, SecretString=text)
        except manager.exceptions.ResourceExistsException:
            await manager.put_secret_value(SecretId=name, SecretString=text)

    async def _in_one_statement(self, change: str | None) -> tuple[int, int]:
        """What task 01 and task 02 make of the table, without leaving it there."""
        first, last = window()
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            await self.connection.execute(sql("task_01"), first, last)
            await self.connection.execute(sql("task_01_analyze"))
            await self.connection.execute(sql("task_02"))
            if change is not None:
                await self.connection.execute(change)
            return await digest(self.connection)
        finally:
            await transaction.rollback()

    async def ask(self, run_id: str | None = None, *, resume: bool = False) -> str:
        """Send a request; the run's id."""
        asked = run_id or f"report-{uuid4().hex[:6]}"
        await self.world.command("plan-requests", PlanRun(pipeline=JOB, run_id=asked, resume=resume))
        return asked

    async def send(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """Send chunks to the workers."""
        commands = [ProcessChunk(pipeline=JOB, run_id=run_id, chunk_id=each) for each in chunk_ids]
        await self.world.session.publisher.send(QUEUE, commands, run_id=run_id)

    @property
    def chunks(self) -> DynamoChunkLedger:
        """The run ledger's chunks."""
        session = self.world.session
        return DynamoChunkLedger(session.clients.dynamodb, session.settings.resource("ledger"), session.clock)

    async def entries(self, run_id: str) -> list[ChunkEntry]:
        """The chunks of a run."""
        return await self.chunks.chunks(run_id)

    async def run(self, run_id: str) -> Run:
        """A run that must be there."""
        run = await self.world.session.ledger.run(run_id)
        assert run is not None
        return run

    async def until(self, run_id: str, *states: RunState, within_s: float = 2 * PATIENCE_S) -> Run:
        """Wait until a run is in one of these states."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            run = await self.world.session.ledger.run(run_id)
            if run is not None and run.state in states:
                return run
            assert asyncio.get_running_loop().time() < deadline, f"{run} is not {states}"
            await asyncio.sleep(POLL_S)

    async def until_blocked(self, workers: int = 1) -> list[int]:
        """Wait until so many backends stand before the gate; their process ids."""
        query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while len(found := [row["pid"] for row in await self.connection.fetch(query)]) < workers:
            assert asyncio.get_running_loop().time() < deadline, f"{len(found)} of {workers} stand before the gate"
            await asyncio.sleep(POLL_S)
        return found

    async def shut(self) -> None:
        """Let no transaction complete a row from now on."""
        await self.connection.execute(f"SELECT pg_advisory_lock({GATE})")

    async def open(self) -> None:
        """Let those that stand before the gate go on."""
        await self.connection.execute(f"SELECT pg_advisory_unlock({GATE})")

    async def check(self) -> None:
        """The table is that of the one statement, and every row of it was completed exactly once."""
        assert await digest(self.connection) == self.expected
        assert await self.completions() == {1: self.rows}

    async def completions(self) -> dict[int, int]:
        """How many rows were completed how often."""
        query = """
            SELECT times, count(*) FROM (
                SELECT count(*) FILTER (WHERE updated) AS times FROM conflictvisitmaps LEFT JOIN audit ON id = "ID"
                GROUP BY "ID"
            ) AS counted GROUP BY times
        """
        return {row["times"]: row["count"] for row in await self.connection.fetch(query)}

    async def waits(self, queue: str = QUEUE) -> int:
        """Messages of a queue, wherever they are."""
        name = self.world.session.settings.resource(queue)
        sqs = self.world.session.clients.sqs
        with translated(f"look at {name}"):
            url = (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
            counts = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])

    @asynccontextmanager
    async def sampled(self) -> AsyncIterator[list[int]]:
        """Ask the status queries all the while, and hold every answer against the database's own ledger."""
        samples: list[int] = []
        over = asyncio.Event()
        watcher = await self.database.connect()

        async def watch() -> None:
            while not over.is_set():
                samples.append(await self._sample(watcher))
                await asyncio.sleep(POLL_S)

        watching = asyncio.create_task(watch())
        try:
            yield samples
        finally:
            over.set()
            await watching
            await watcher.close()

    async def _sample(self, watcher: Connection) -> int:
        """One look, at one moment: rows that are locked, completed and pending, and stuck."""
        async with watcher.transaction(isolation="repeatable_read", readonly=True):
            run = await watcher.fetchval('SELECT "RunID" FROM settings')
            if run is None:
                return 0
            chunks = await watcher.fetch(CHUNKS, run)
            said = {row["status"]: row["rows"] for row in await watcher.fetch(sql("status_run"))}
            everything = {row["status"]: row["rows"] for row in await watcher.fetch(sql("status"))}
            stuck = await watcher.fetchval(sql("status_stuck_rows"))
            planned = await watcher.fetchval("SELECT count(*) FROM conflictvisitmaps_temp")
        locked = sum(row["planned_rows"] for row in chunks if _is_locked(row["chunk_id"], row["state"]))
        completed = sum(row["updated_rows"] or 0 for row in chunks if row["state"] == "done")
        true = {"locked": locked, "completed": completed, "pending": planned - locked - completed}
        if said != {status: rows for status, rows in true.items() if rows}:
            self.wrong.append(f"said {said}, true is {true}")
        if stuck != locked or everything.get("locked", 0) != locked:
            self.wrong.append(f"{stuck} rows said to be stuck, {everything} in all, {locked} are locked")
        return int(locked)


def _is_locked(chunk_id: str, state: str) -> bool:
    """Rows of a part have been marked since before the chunk was split."""
    return state == "marked" or ("." in chunk_id and state == "planned")


def window() -> tuple[date, date]:
    """The job's own days."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=730), today + timedelta(days=30)
