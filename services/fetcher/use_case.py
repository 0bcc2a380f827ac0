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
from contracts.runs import RunState
from services.fetcher.core import Job, Progress, RawBody, advance, is_over, job_of
from services.fetcher.ports import Ports
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import (
    BadDeclarationError,
    MalformedError,
    PermanentError,
    TemporaryError,
    TidegateError,
)
from services.runtime.ledger import Run
from services.runtime.telemetry import correlated

log = structlog.get_logger()

MS_PER_S = 1_000


async def fetch_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Fetch everything a batch asks for, side by side; what cannot be done now comes back alone."""
    outcome = Outcome()
    try:
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                group.create_task(_handle(ports, delivery, outcome))
    except BaseExceptionGroup as failed:  # a defect, or the end of the process: the shell knows them by themselves
        raise failed.exceptions[0] from failed
    ports.telemetry.flush()
    return outcome


async def _handle(ports: Ports, delivery: Delivery, outcome: Outcome) -> None:
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
                await _fetch(ports, job)
            except PermanentError as error:
                if run is None:  # there is nothing to fail, so the DLQ must show it
                    raise
                log.error("segment cannot be fetched", error=str(error), kind=type(error).__name__)
                await ports.completion.fail(run, str(error))
        except TidegateError as error:
            log.warning("segment not fetched", error=str(error), kind=type(error).__name__)
            delay = error.delay if isinstance(error, TemporaryError) else None
            outcome.fail([delivery.id], str(error), delay=delay)


def _read(ports: Ports, delivery: Delivery) -> Job:
    _, command = open_message(delivery.body, FETCHER_COMMANDS)
    if not isinstance(command, FetchSegment):
        raise MalformedError(f"{command.kind()} is not for the fetcher")
    return job_of(command, ports.pipelines, ports.raw_bucket)


async def _skip(ports: Ports, run: Run, delivery: Delivery) -> None:
    log.info("run is over, nothing is fetched for it", state=run.state, reason=run.reason)
    if run.state is RunState.FAILED and delivery.receives > 1:
        # It may be this delivery that failed the run, and died before it could say so.
        await ports.completion.fail(run, run.reason or "")


async def _fetch(ports: Ports, job: Job) -> None:
    command = job.command
    rows = await ports.raw.rows(job.bucket, job.key)
    if rows is None:
        rows = await _create(ports, job)
    else:
        log.info("segment was fetched before", rows=rows)
    await ports.ledger.segment_fetched(command.run_id, command.segment_id, rows, job.location)


async def _create(ports: Ports, job: Job) -> int:
    """Read the range and create its object; the rows of the object that is there in the end, ours or another's."""
    started = ports.clock.monotonic()
    body = RawBody()
    with ports.telemetry.segment("get"):
        progress = await _read_range(ports, job, body)
    packed = await asyncio.to_thread(body.finish)
    with ports.telemetry.segment("put"):
        created = await ports.raw.create(job.bucket, job.key, packed, rows=progress.rows)
    if not created:
        standing = await ports.raw.rows(job.bucket, job.key)
        if standing is None:
            raise TemporaryError(f"s3://{job.location} was there and is not any more")
        log.info("segment was fetched meanwhile", rows=standing, dropped=progress.rows)
        return standing
    seconds = ports.clock.monotonic() - started
    name, metric = job.pipeline.name, ports.telemetry.metric
    metric("RowsOut", progress.rows, pipeline=name)
    metric("BytesFetched", body.raw_bytes, "Bytes", pipeline=name)
    metric("FetchTime", seconds * MS_PER_S, "Milliseconds", pipeline=name)
    log.info(
        "segment fetched",
        rows=progress.rows,
        expected=job.command.expected_rows,
        bytes=body.raw_bytes,
        packed=len(packed),
        seconds=round(seconds, 3),
    )
    return progress.rows


async def _read_range(ports: Ports, job: Job, body: RawBody) -> Progress:
    source, command = job.source, job.command
    dataset = ports.datasets.of(job.pipeline.name)
    progress = Progress()
    while not progress.ended:
        page = await dataset.page(command.range, progress.position, source.batch_size)
        progress = advance(progress, page, source, expected_rows=command.expected_rows)
        if page.rows:
            await asyncio.to_thread(body.add, page)
    return progress
