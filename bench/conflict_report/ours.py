"""Ours: a stack on the arena's emulator, a planner, and chunk workers that start once chunks wait for them."""

import asyncio
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import boto3  # type: ignore[import-untyped, unused-ignore]

from bench import PROJECT
from bench.bronze.crew import Crew, Staff
from bench.conflict_report.source import JOB
from bench.nyc_311.arena import Arena
from contracts.runs import PlanRun, RunState
from services.console.local.provision import load_topology, provision
from services.runtime.aws.chunk_ledger import DynamoChunkLedger
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.settings import Settings
from tests.postgres_support import Database

SECRET = "conflict-report-postgres"  # noqa: S105 - its name, as the shipped declaration has it
TIMEOUT_S = 3_600.0
POLL_S = 0.2


class RunFailedError(Exception):
    """A run of ours did not succeed; the text is the ledger's reason and what the workers said last."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What differs from the shipped declaration."""

    max_keys: int = 1_000
    mark_after_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that succeeded."""

    plan_s: float
    """From the request until every chunk waits for a worker: task 01, distribution and plan."""
    work_s: float
    """From the first chunk that a worker took until the run's success."""
    chunks: int
    rows: int
    cpu_s: Mapping[str, float]
    peak_rss_bytes: Mapping[str, int]
    emulator_cpu_s: float


def run_job(arena: Arena, database: Database, declared: Declared, workers: int, settings: Mapping[str, str]) -> Ended:
    """One run of the report with so many chunk workers.

    Raises:
        RunFailedError: it failed, or has not ended after an hour.
        WorkerEndedError: a worker ended by itself.
    """
    pipelines = arena.folder / "pipelines"
    declare(pipelines, declared)
    environ = {**settings, **arena.environ, "TIDEGATE_PIPELINES": str(pipelines)}
    asyncio.run(_provision())
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=database.secret)
    planner = Crew(arena.folder, environ, Staff({"planner": 1}))
    crew = Crew(arena.folder / "workers", environ, Staff({"chunk_worker": workers}))
    (arena.folder / "workers").mkdir()
    planner.start()
    try:
        return asyncio.run(_follow(arena, planner, crew))
    finally:
        crew.stop()
        planner.stop()


async def _follow(arena: Arena, planner: Crew, crew: Crew) -> Ended:
    clock, settings, run_id = SystemClock(), Settings.read(os.environ), f"bench-{uuid4().hex[:8]}"
    async with Clients("sqs", "sns", "dynamodb") as clients:
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        chunks = DynamoChunkLedger(clients.dynamodb, settings.resource("ledger"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        started = time.perf_counter()
        await publisher.send("plan-requests", [PlanRun(pipeline=JOB, run_id=run_id)], run_id=run_id)
        while planner.last_said("chunks dispatched") is None:
            planner.check()
            await asyncio.sleep(POLL_S)
        plan_s = time.perf_counter() - started
        emulator_before = arena.emulator_cpu_s()
        await asyncio.to_thread(crew.start)
        while True:
            run = await ledger.run(run_id)
            if run is not None and run.state not in {RunState.PLANNING, RunState.RUNNING}:
                break
            if time.perf_counter() > started + TIMEOUT_S:
                raise RunFailedError(f"not ended: {run}\n{crew.story()}")
            crew.check()
            await asyncio.sleep(POLL_S)
        if run.state is not RunState.SUCCEEDED or run.finished_at is None:
            raise RunFailedError(f"{run.reason}\n{crew.story()}")
        entries = await chunks.chunks(run_id)
        first = min(datetime.fromisoformat(entry.started_at) for entry in entries if entry.started_at is not None)
        return Ended(
            plan_s=plan_s,
            work_s=(datetime.fromisoformat(run.finished_at) - first).total_seconds(),
            chunks=len(entries),
            rows=sum(entry.updated or 0 for entry in entries),
            cpu_s=crew.cpu_s_of_each(),
            peak_rss_bytes=crew.peak_rss_bytes(),
            emulator_cpu_s=arena.emulator_cpu_s() - emulator_before,
        )


def declare(folder: Path, declared: Declared) -> None:
    """The shipped job with other sizes, and nothing else."""
    shutil.copytree(PROJECT / "pipelines" / JOB, folder / JOB)
    path = folder / JOB / "job.toml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^max_keys = .*$", f"max_keys = {declared.max_keys}", text)
    text = re.sub(r"(?m)^mark_after_s = .*$", f"mark_after_s = {declared.mark_after_s}", text)
    path.write_text(text, encoding="utf-8")


async def _provision() -> None:
    async with Clients() as clients:
        await provision(clients, os.environ["TIDEGATE_STACK"], load_topology())
