"""Reading alone: planner and fetchers, and nobody who takes the processor from them by working on what they read."""

import asyncio
import os
import sys
from collections.abc import Sequence
from statistics import median
from uuid import uuid4

from bench.nyc_311.arena import arena
from bench.nyc_311.contenders import Services, metered
from bench.nyc_311.ours import PIPELINE, PLAN_QUEUE, POLL_S
from bench.nyc_311.source import Source
from bench.nyc_311.workers import Fleet
from contracts.runs import PlanRun
from services.runtime.aws.clients import Clients
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.publishing import AwsPublisher
from services.runtime.clock import SystemClock
from services.runtime.ledger import Step
from services.runtime.settings import Settings

READERS = ("planner", "fetcher")


def read_alone(
    source: Source, fleets: Sequence[tuple[int, int]], *, page_rows: int, latency_ms: float, rounds: int
) -> dict[tuple[int, int], float]:
    """Median seconds from the first page asked for to the last, for each (fetchers, ranges side by side in each)."""
    seconds: dict[tuple[int, int], list[float]] = {fleet: [] for fleet in fleets}
    source.set_latency(latency_ms)
    try:
        for number in range(1, rounds + 1):
            for fetchers, lanes in fleets:
                took = _once(source, Fleet(fetchers, lanes, READERS), page_rows)
                seconds[fetchers, lanes].append(took)
                sys.stderr.write(f"nyc_311_fetching: round {number}/{rounds} {fetchers} x {lanes}: {took:.2f} s\n")
    finally:
        source.set_latency(0)
    return {fleet: median(took) for fleet, took in seconds.items()}


def _once(source: Source, fleet: Fleet, page_rows: int) -> float:
    with arena() as place:
        ours = Services("readers", page_rows, fleet=fleet).stack(place, source)
        ours.workers.start()
        try:
            with metered(place, source, page_rows) as used:
                asyncio.run(_read_all())
        finally:
            ours.workers.stop()
    return used["reading_s"]


async def _read_all() -> None:
    """Ask for a run and wait until every range of it has become a raw object."""
    clock, settings, run_id = SystemClock(), Settings.read(os.environ), f"bench-{uuid4().hex[:8]}"
    async with Clients("sqs", "sns", "dynamodb") as clients:
        ledger = DynamoLedger(clients.dynamodb, settings.resource("ledger"), clock)
        publisher = AwsPublisher(clients.sqs, clients.sns, settings.stack, clock)
        await publisher.send(PLAN_QUEUE, [PlanRun(pipeline=PIPELINE, run_id=run_id)], run_id=run_id)
        while True:
            run = await ledger.run(run_id)
            if run is not None and run.planned is not None:
                segments = await ledger.segments(run_id)
                if all(segment.step is Step.FETCHED for segment in segments):
                    return
            await asyncio.sleep(POLL_S)
