"""A chunked job whose work must not be done twice, and processes of the chunk worker over real services."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from contracts.chunks import ChunkPayload, ProcessChunk
from contracts.envelope import Message
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.chunking.jobs import load_jobs
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.clock import SystemClock
from services.runtime.ledger import Run
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.settings import PROJECT
from tests.emulator_support import Stack
from tests.postgres_support import Database

JOB = "items"
RUN = "run-1"
PATIENCE_S = 60.0
"""Nothing here takes this long, but the machine may be busy with something else."""
DECLARATION = """
name = "items"
[database]
secret = "items-postgres"
[keys]
owner = { type = "integer", plural = "owners" }
[chunks]
target_rows = 40
mark_after_s = 0
[sql]
setup = ["setup.sql"]
distribution = "distribution.sql"
mark = "mark.sql"
process = "process.sql"
"""
FILES = {
    "setup.sql": "CREATE TABLE IF NOT EXISTS items (owner integer, done integer DEFAULT 0, locked boolean)",
    "distribution.sql": "SELECT owner, count(*) AS rows FROM items GROUP BY owner ORDER BY owner",
    "mark.sql": "UPDATE items SET locked = true WHERE owner = ANY ($1::integer[])",
    # Not the same when it is done twice, and slow enough to be killed in the midst of it.
    "process.sql": "WITH slow AS MATERIALIZED (SELECT pg_sleep({seconds})) UPDATE items SET done = done + 1, "
    "locked = false FROM slow WHERE owner = ANY ($1::integer[])",
}


@dataclass
class Deployment:
    """A stack, and processes of the chunk worker on it; times are short, so that the dead are found out soon."""

    stack: Stack
    clients: Clients
    logs: Path
    pipelines: Path

    def environ(self, **settings: str) -> dict[str, str]:
        """The environment of a process."""
        return {
            **os.environ,
            "TIDEGATE_PIPELINES": str(self.pipelines),
            "TIDEGATE_LEASE_TTL_S": "2",
            "TIDEGATE_WORKER_VISIBILITY_S": "2",
            "TIDEGATE_POLL_S": "1",
            **settings,
        }

    def act(self, name: str, **payload: Any) -> dict[str, Any]:
        """Ask for an action on the command line; its details."""
        command = [sys.executable, "-m", "services.chunk_worker.action", name, "--payload", json.dumps(payload)]
        ended = subprocess.run(
            command, cwd=PROJECT, env=self.environ(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        details: dict[str, Any] = json.loads(ended.stdout)["details"]
        return details

    @contextmanager
    def worker(self, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A worker process; killed at the end, if it still runs."""
        log = self.logs / f"worker-{uuid4().hex}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.chunk_worker.worker"],
                cwd=PROJECT,
                env=self.environ(**settings),
                stdout=output,
                stderr=output,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    async def run(self, run_id: str = RUN) -> Run:
        """A run."""
        found = await self.ledger.run(run_id)
        assert found is not None
        return found

    @property
    def ledger(self) -> DynamoLedger:
        """The run ledger."""
        return DynamoLedger(self.clients.dynamodb, self.stack.resource("ledger"), SystemClock())


@dataclass
class Items(Deployment):
    """The job on a stack: twenty owners of ten rows each, so five chunks."""

    database: Database

    async def create(self, *, seconds: float) -> None:
        """Put everything in its place; ``seconds`` is how long a chunk takes."""
        folder = self.pipelines / JOB
        folder.mkdir()
        (folder / "job.toml").write_text(DECLARATION)
        for name, text in FILES.items():
            (folder / name).write_text(text.format(seconds=seconds))
        await self.clients.secretsmanager.create_secret(Name="items-postgres", SecretString=self.database.secret)
        self.database.run(
            FILES["setup.sql"],
            "INSERT INTO items (owner) SELECT n % 20 FROM generate_series(1, 200) AS n",
        )

    async def plan(self) -> None:
        """A run whose chunks are planned."""
        clock, objects = SystemClock(), S3Objects(self.clients.s3)
        access = PostgresAccess(SecretsManagerSecrets(self.clients.secretsmanager, clock))
        planning = ChunkPlanning(
            PostgresJobDatabases(access, AnalyticsByKind({})),
            StoredChunkPlans(objects, self.stack.resource("state")),
            self.ledger,
            DynamoChunkLedger(self.clients.dynamodb, self.stack.resource("ledger"), clock),
            clock,
        )
        job = load_jobs(self.pipelines, {})[JOB]
        await planning.open(job, RUN)
        await planning.prepare(job, RUN, ChunkPayload())
        await planning.plan(job, RUN, ChunkPayload())

    async def dispatch(self, *chunk_ids: str) -> None:
        """Send the chunks of the run, as a planner would."""
        url = (await self.clients.sqs.get_queue_url(QueueName=self.stack.resource("chunk-jobs")))["QueueUrl"]
        for chunk_id in chunk_ids:
            command = ProcessChunk(pipeline=JOB, run_id=RUN, chunk_id=chunk_id)
            message = Message.wrap(command, message_id=uuid4(), run_id=RUN, occurred_at=SystemClock().now())
            await self.clients.sqs.send_message(QueueUrl=url, MessageBody=message.model_dump_json())

    async def ask(self, query: str) -> list[asyncpg.Record]:
        """Rows of the database."""
        connection = await self.database.connect()
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def chunks(self) -> dict[str, tuple[str, int]]:
        """State and attempts of every chunk, as the database has them."""
        rows = await self.ask("SELECT chunk_id, state, attempts FROM tidegate_chunks")
        return {row["chunk_id"]: (row["state"], row["attempts"]) for row in rows}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.05)
