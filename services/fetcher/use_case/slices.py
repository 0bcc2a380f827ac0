"""A slice of an entity: typed rows → a landing file, an API's records → gzip-compressed NDJSON.

A landing file is written to disk first, so that memory holds a few gathers of rows, however many the slice has.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from errno import EDQUOT, ENOSPC
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from contracts.loads import Landing as Trailer
from services.fetcher.core.jobs import SliceJob
from services.fetcher.core.landing import Gather, dated_by
from services.fetcher.core.pages import RawBody
from services.fetcher.ports import Landing, Ports
from services.fetcher.use_case.creating import Attempt, fetch_once
from services.runtime.failures import BadDeclarationError, TemporaryError, TidegateError
from services.runtime.landing import LandingWriter

if TYPE_CHECKING:
    import pyarrow as pa

PATIENCE = 8
"""Receives of a command after which a source that still does not answer fails its run, for the other entities' sake."""
LONGEST_DELAY_S = 300.0
FULL_DISK_DELAY_S = 30.0
T = TypeVar("T")


class SourceOutError(TidegateError):
    """The source of an entity has not answered for so long that its run must end."""


async def fetch_slice(ports: Ports, job: SliceJob, receives: int) -> None:
    """Fetch one slice into its raw object, unless that is there; ``receives`` counts deliveries of the command.

    Raises:
        SourceOutError: the source does not answer, and this is not the first time.
    """
    landing = ports.landing
    if landing is None:
        raise BadDeclarationError(f"pipeline {job.pipeline.name} lands an entity, and no source of any is open here")
    with _patience(receives):
        if job.is_typed:
            await fetch_once(ports, job, landing.objects, lambda: _create_landing(ports, landing, job))
        else:
            await fetch_once(ports, job, ports.raw, lambda: _create_records(ports, landing, job))


class _NotReadError(TemporaryError):
    """It was the source that failed, not the store."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except TemporaryError as error:
        raise _NotReadError(str(error), delay=error.delay) from error


@contextmanager
def _patience(receives: int) -> Iterator[None]:
    try:
        yield
    except _NotReadError as error:
        if receives >= PATIENCE:
            raise SourceOutError(f"{error} (tried {receives} times)") from error
        raise TemporaryError(str(error), delay=max(error.delay, min(2.0**receives, LONGEST_DELAY_S))) from error


async def _create_records(ports: Ports, landing: Landing, job: SliceJob) -> Attempt:
    body, rows = RawBody(), 0
    with ports.telemetry.segment("get"):
        async with _closing(landing.records.read(job.pipeline, job.command)) as pages:
            while (page := await _next(pages)) is not None:
                if page.rows:
                    await asyncio.to_thread(body.add, page)
                    rows += page.rows
    packed = await asyncio.to_thread(body.finish)
    with ports.telemetry.segment("put"):
        created = await ports.raw.create(job.bucket, job.key, packed, rows=rows)
    return Attempt(rows, body.raw_bytes, len(packed), created)


async def _create_landing(ports: Ports, landing: Landing, job: SliceJob) -> Attempt:
    with _disk(landing.spool), TemporaryFile(dir=landing.spool, prefix="tidegate-") as opened:
        file = cast("BinaryIO", opened)
        # Waiting costs nothing: the messages of a worker stay hidden, and a function has one at a time.
        async with landing.reads:
            with ports.telemetry.segment("get"):
                spooled = await _spool(landing, job, file)
        with ports.telemetry.segment("put"):
            created = await landing.objects.create(job.bucket, job.key, file, rows=spooled.rows)
        return replace(spooled, created=created)


async def _spool(landing: Landing, job: SliceJob, file: BinaryIO) -> Attempt:
    """Write the landing file; while one gather is packed the next one is read."""
    command, fields = job.command, job.fields
    reader = landing.tables.get(job.source.kind)
    if reader is None:
        raise BadDeclarationError(f"pipeline {job.pipeline.name}: sources of kind {job.source.kind} are not read here")
    packing = _Packing(LandingWriter(file), dated_by(fields, job.source.event_date))
    raw_bytes = 0
    try:
        async with _closing(reader.read(job.pipeline, command)) as batches:
            while (batch := await _next(batches)) is not None:
                raw_bytes += batch.nbytes
                await packing.add(batch)
        await packing.finish()
    finally:
        await packing.settle()
    writer = packing.writer
    trailer = Trailer(
        pipeline=command.pipeline,
        run_id=command.run_id,
        segment_id=command.segment_id,
        load_type=command.load_type,
        fields=fields,
        slice=command.slice,
        rows=writer.rows,
        chunks=writer.chunks,
    )
    await asyncio.to_thread(_seal, writer, trailer, file)
    return Attempt(trailer.rows, raw_bytes, file.seek(0, SEEK_END), created=False)


class _Packing:
    """Gathers rows, and packs one gather at a time in a thread."""

    def __init__(self, writer: LandingWriter, event_date: str | None) -> None:
        self.writer = writer
        self._event_date = event_date
        self._gather = Gather()
        self._task: asyncio.Task[None] | None = None

    async def add(self, batch: "pa.RecordBatch") -> None:
        if not self._gather.has_room(batch):
            await self._start()
        self._gather.add(batch)

    async def finish(self) -> None:
        await self._start()
        await self._wait()

    async def settle(self) -> None:
        """Let what is being packed end; the file must not be closed under it."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _start(self) -> None:
        await self._wait()
        full, self._gather = self._gather, Gather()
        self._task = asyncio.create_task(asyncio.to_thread(self._pack, full))

    async def _wait(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None

    def _pack(self, gather: Gather) -> None:
        for stream, days in gather.chunks(self._event_date):
            self.writer.add(stream, days)


def _seal(writer: LandingWriter, trailer: Trailer, file: BinaryIO) -> None:
    writer.seal(trailer)
    file.flush()


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise TemporaryError(f"the disk of {folder} is full: {error.strerror}", delay=FULL_DISK_DELAY_S) from error
        raise


def _closing(source: AsyncIterator[T]) -> "aclosing[AsyncGenerator[T]]":
    """Close a source as soon as it is not read any more, not when it is collected as garbage."""
    return aclosing(cast("AsyncGenerator[T]", source))


async def _next(source: AsyncIterator[T]) -> T | None:
    with _reading():
        return await anext(source, None)
