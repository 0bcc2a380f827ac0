"""One batch of commands → one raw object each.

Order of effects: raw object → ledger. The object is created once and never replaced: a repetition, which the source
might answer otherwise by now, finds it and repeats the ledger's entry only. S3's own event tells the validator.
"""

import asyncio
from collections.abc import Sequence

import structlog

from contracts.catalog import FETCHER_COMMANDS
from contracts.envelope import UnreadableMessageError, open_message
from contracts.fetching import FetchSegment
from contracts.loads import FetchSlice
from contracts.runs import RunState
from services.fetcher.core.jobs import Job, SliceJob, is_over, job_of, slice_job_of
from services.fetcher.ports import Ports
from services.fetcher.use_case.ranges import fetch_range
from services.fetcher.use_case.slices import SourceOutError, fetch_slice
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import (
    BadDeclarationError,
    MalformedError,
    PermanentError,
    TemporaryError,
    TidegateError,
)
from services.runtime.handling import handling, measured
from services.runtime.ledger import Run
from services.runtime.telemetry import correlated

log = structlog.get_logger()


@measured
async def fetch_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Fetch everything a batch asks for, side by side; what cannot be done now comes back alone."""
    outcome = Outcome()
    try:
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                group.create_task(_handle(ports, delivery, outcome))
    except BaseExceptionGroup as failed:  # a defect, or the end of the process: the shell knows them by themselves
        raise failed.exceptions[0] from failed
    return outcome


async def _handle(ports: Ports, delivery: Delivery, outcome: Outcome) -> None:
    with handling(delivery):
        await _fetch(ports, delivery, outcome)


async def _fetch(ports: Ports, delivery: Delivery, outcome: Outcome) -> None:
    try:
        job = _read(ports, delivery)
    except (BadDeclarationError, MalformedError, UnreadableMessageError) as error:
        log.error("unreadable delivery", error=str(error), delivery=delivery.id)
        outcome.fail([delivery.id], str(error))
        return
    command = job.command
    with correlated(run_id=command.run_id, segment_id=command.segment_id, pipeline=job.pipeline.name):
        try:
            run = await ports.ledger.run(command.run_id)
            if run is not None and is_over(run):
                await _skip(ports, run, delivery)
                return
            try:
                await (fetch_range(ports, job) if isinstance(job, Job) else fetch_slice(ports, job, delivery.receives))
            except (PermanentError, SourceOutError) as error:
                if run is None:  # there is nothing to fail, so the DLQ must show it
                    raise
                log.error("segment cannot be fetched", error=str(error), kind=type(error).__name__)
                await ports.completion.fail(run, str(error))
        except TidegateError as error:
            log.warning("segment not fetched", error=str(error), kind=type(error).__name__)
            delay = error.delay if isinstance(error, TemporaryError) else None
            outcome.fail([delivery.id], str(error), delay=delay)


def _read(ports: Ports, delivery: Delivery) -> Job | SliceJob:
    _, command = open_message(delivery.body, FETCHER_COMMANDS)
    if isinstance(command, FetchSlice):
        return slice_job_of(command, ports.pipelines, ports.raw_bucket)
    if not isinstance(command, FetchSegment):
        raise MalformedError(f"{command.kind()} is not for the fetcher")
    return job_of(command, ports.pipelines, ports.raw_bucket)


async def _skip(ports: Ports, run: Run, delivery: Delivery) -> None:
    log.info("run is over, nothing is fetched for it", state=run.state, reason=run.reason)
    if run.state is RunState.FAILED and delivery.receives > 1:
        # It may be this delivery that failed the run, and died before it could say so.
        await ports.completion.fail(run, run.reason or "")
