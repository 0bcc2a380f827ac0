"""What every fetch has in common: the object is created once, the ledger is told, and both are measured."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.fetcher.core.jobs import Job, SliceJob
from services.fetcher.ports import Ports
from services.runtime.failures import TemporaryError

log = structlog.get_logger()

MS_PER_S = 1_000


class Standing(Protocol):
    """Where raw objects are looked for."""

    async def rows(self, bucket: str, key: str) -> int | None:
        """Rows of the raw object that is there, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt at a raw object came to."""

    rows: int
    raw_bytes: int
    """As the source gave them, uncompressed."""
    packed: int
    """Bytes of the object."""
    created: bool
    """False: another attempt was faster, and its object stands."""


async def fetch_once(
    ports: Ports, job: Job | SliceJob, objects: Standing, attempt: Callable[[], Awaitable[Attempt]]
) -> None:
    """Make the raw object unless it is there, and enter it in the ledger."""
    command = job.command
    rows = await objects.rows(job.bucket, job.key)
    if rows is None:
        rows = await _make(ports, job, objects, attempt)
    else:
        log.info("segment was fetched before", rows=rows)
    await ports.ledger.segment_fetched(command.run_id, command.segment_id, rows, job.location)


async def _make(ports: Ports, job: Job | SliceJob, objects: Standing, attempt: Callable[[], Awaitable[Attempt]]) -> int:
    """Rows of the object that is there in the end, ours or another's."""
    started = ports.clock.monotonic()
    made = await attempt()
    name, metric = job.pipeline.name, ports.telemetry.metric
    metric("RowsIn", made.rows, pipeline=name)
    if not made.created:
        standing = await objects.rows(job.bucket, job.key)
        if standing is None:
            raise TemporaryError(f"s3://{job.location} was there and is not any more")
        metric("Duplicates", made.rows, pipeline=name)
        log.info("segment was fetched meanwhile", rows=standing, dropped=made.rows)
        return standing
    seconds = ports.clock.monotonic() - started
    metric("RowsOut", made.rows, pipeline=name)
    metric("BytesFetched", made.raw_bytes, "Bytes", pipeline=name)
    metric("FetchTime", seconds * MS_PER_S, "Milliseconds", pipeline=name)
    log.info(
        "segment fetched",
        rows=made.rows,
        expected=job.command.expected_rows,
        bytes=made.raw_bytes,
        packed=made.packed,
        seconds=round(seconds, 3),
    )
    return made.rows
