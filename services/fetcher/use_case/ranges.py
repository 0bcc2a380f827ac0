"""A range of a dataset, page by page → gzip-compressed NDJSON."""

import asyncio

from services.fetcher.core.jobs import Job
from services.fetcher.core.pages import Progress, RawBody, advance
from services.fetcher.ports import Ports
from services.fetcher.use_case.creating import Attempt, fetch_once


async def fetch_range(ports: Ports, job: Job) -> None:
    """Fetch one range into its raw object, unless that is there."""
    await fetch_once(ports, job, ports.raw, lambda: _create(ports, job))


async def _create(ports: Ports, job: Job) -> Attempt:
    body = RawBody()
    with ports.telemetry.segment("get"):
        progress = await _read_range(ports, job, body)
    packed = await asyncio.to_thread(body.finish)
    with ports.telemetry.segment("put"):
        created = await ports.raw.create(job.bucket, job.key, packed, rows=progress.rows)
    return Attempt(progress.rows, body.raw_bytes, len(packed), created)


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
