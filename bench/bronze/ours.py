"""Ours: a stack provisioned on the arena's emulator, its workers, and runs of the group from request to success."""

import asyncio
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import boto3  # type: ignore[import-untyped, unused-ignore]

from bench import PROJECT
from bench.bronze.crew import Crew, Staff
from bench.bronze.source import TABLE, Source
from bench.nyc_311.arena import Arena
from contracts.runs import LoadPayload, LoadType, PlanRun, RunState
from services.console.local.provision import load_topology, provision
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.settings import Settings

GROUP = "ecommerce"
SECRET = "ecom-rds"  # noqa: S105 - its name, as the shipped declaration has it
PLAN_QUEUE = "plan-requests"
TIMEOUT_S = 1_800.0
POLL_S = 0.1
_KEPT = ("sources.rds", "target", f"entities.{TABLE}")


class RunFailedError(Exception):
    """A run of ours did not succeed; the text is the ledger's reason and what the workers said last."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that succeeded, with the seconds from its request to that."""

    run_id: str
    work_s: float


class Ours:
    """One stack with its workers; they are started and ended by its owner."""

    def __init__(self, arena: Arena, source: Source, staff: Staff, settings: Mapping[str, str]) -> None:
        pipelines = arena.folder / "pipelines"
        declare(pipelines)
        places = {"TIDEGATE_PIPELINES": str(pipelines)}
        self.workers = Crew(arena.folder, {**settings, **arena.environ, **places}, staff)
        asyncio.run(_provision())
        boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=source.database.secret)

    def run(self, load_type: LoadType) -> Ended:
        """Ask for a run of the group and wait until it has succeeded.

        Raises:
            RunFailedError: it failed, or has not ended after half an hour.
            WorkerEndedError: a worker ended by itself.
        """
        return asyncio.run(self._follow(f"bench-{uuid4().hex[:8]}", load_type))

    async def _follow(self, run_id: str, load_type: LoadType) -> Ended:
        clock = SystemClock()
        settings = Settings.read(os.environ)
        request = PlanRun(pipeline=GROUP, run_id=run_id, load=LoadPayload(load_type=load_type))
        async with Clients("sqs", "sns", "dynamodb") as clients:
            ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
            publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
            started = time.perf_counter()
            await publisher.send(PLAN_QUEUE, [request], run_id=run_id)
            while time.perf_counter() < started + TIMEOUT_S:
                run = await ledger.run(run_id)
                if run is not None and run.state is RunState.SUCCEEDED:
                    return Ended(run_id, time.perf_counter() - started)
                if run is not None and run.state is RunState.FAILED:
                    raise RunFailedError(f"{run.reason}\n{self.workers.story()}")
                self.workers.check()
                await asyncio.sleep(POLL_S)
        raise RunFailedError(f"not ended after {time.perf_counter() - started:.0f} s: {run}\n{self.workers.story()}")


def declare(folder: Path) -> None:
    """Write the shipped declaration with one entity only: the table that the others read, too."""
    text = (PROJECT / "pipelines" / f"{GROUP}.toml").read_text(encoding="utf-8")
    head, *tables = re.split(r"(?m)^\[", text)
    kept = [table for table in tables if table.partition("]")[0] in _KEPT]
    folder.mkdir()
    (folder / f"{GROUP}.toml").write_text(head + "".join(f"[{table}" for table in kept), encoding="utf-8")


async def _provision() -> None:
    async with Clients() as clients:
        await provision(clients, os.environ["TIDEGATE_STACK"], load_topology())
