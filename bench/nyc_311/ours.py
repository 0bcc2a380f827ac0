"""Ours: a stack provisioned on the arena's emulator, its workers, and runs from request to success in the ledger."""

import asyncio
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench import PROJECT
from bench.nyc_311.arena import Arena
from bench.nyc_311.workers import Fleet, Workers
from contracts.runs import PlanRun, RunMode, RunState
from services.console.local.provision import load_topology, provision
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.settings import Settings

PIPELINE = "nyc_311"
PLAN_QUEUE = "plan-requests"
TIMEOUT_S = 1_800.0
POLL_S = 0.1
MAX_RECORDS = 1_000_000
REQUESTS_PER_SECOND = 10_000
"""The peers send theirs as fast as they can."""


class RunFailedError(Exception):
    """A run of ours did not succeed; the text is the ledger's reason and what the workers said last."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that succeeded, with the seconds from its request to that."""

    run_id: str
    mode: RunMode
    work_s: float


class Ours:
    """One stack with its workers; they are started and ended by its owner."""

    def __init__(
        self,
        arena: Arena,
        domain: str,
        *,
        page_rows: int,
        segment_rows: int | None,
        fleet: Fleet,
        settings: Mapping[str, str],
    ) -> None:
        pipelines = arena.folder / "pipelines"
        declare(pipelines, page_rows=page_rows, segment_rows=segment_rows)
        places = {"TIDEGATE_PIPELINES": str(pipelines), "SOCRATA_DOMAIN_URL": domain}
        self.workers = Workers(arena.folder, {**settings, **arena.environ, **places}, fleet)
        self._given_up = threading.Event()
        asyncio.run(_provision())

    def run(self) -> Ended:
        """Ask for a run and wait until it has succeeded.

        Raises:
            RunFailedError: it failed, was given up, or has not ended after half an hour.
            WorkerEndedError: a worker ended by itself.
        """
        return asyncio.run(self._follow(f"bench-{uuid4().hex[:8]}"))

    def give_up(self) -> None:
        """Let nobody wait any longer for a run; from another thread."""
        self._given_up.set()

    async def _follow(self, run_id: str) -> Ended:
        clock = SystemClock()
        settings = Settings.read(os.environ)
        async with Clients("sqs", "sns", "dynamodb") as clients:
            ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
            publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
            started = time.perf_counter()
            await publisher.send(PLAN_QUEUE, [PlanRun(pipeline=PIPELINE, run_id=run_id)], run_id=run_id)
            while time.perf_counter() < started + TIMEOUT_S and not self._given_up.is_set():
                run = await ledger.run(run_id)
                if run is not None and run.state is RunState.SUCCEEDED:
                    return Ended(run_id, run.mode, time.perf_counter() - started)
                if run is not None and run.state is RunState.FAILED:
                    raise RunFailedError(f"{run.reason}\n{self.workers.story()}")
                self.workers.check()
                await asyncio.sleep(POLL_S)
        raise RunFailedError(f"not ended after {time.perf_counter() - started:.0f} s: {run}\n{self.workers.story()}")


def declare(folder: Path, *, page_rows: int, segment_rows: int | None) -> None:
    """Write the shipped declaration without the limits that would decide the comparison."""
    source = {"batch_size": page_rows, "max_records": MAX_RECORDS, "requests_per_second": REQUESTS_PER_SECOND}
    if segment_rows is not None:
        source["segment_rows"] = segment_rows
    text = (PROJECT / "pipelines" / f"{PIPELINE}.toml").read_text(encoding="utf-8")
    for name in source:
        text = re.sub(rf"(?m)^{name} *=.*\n", "", text)
    settings = "\n".join(f"{name} = {value}" for name, value in source.items())
    folder.mkdir()
    (folder / f"{PIPELINE}.toml").write_text(text.replace("[source]\n", f"[source]\n{settings}\n", 1), encoding="utf-8")


async def _provision() -> None:
    async with Clients() as clients:
        await provision(clients, os.environ["TIDEGATE_STACK"], load_topology())
