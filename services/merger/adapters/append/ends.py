"""New ends of files: after all that is there, after the groups that stay, or from the first byte on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pyarrow as pa

from contracts.segments import Destination
from services.merger.adapters.append.footer import Ending, Footer, ForeignFileError, footer_before
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.tail import TailMerge, read_groups
from services.merger.adapters.append.writer import GroupWriter
from services.merger.core.append import Plan
from services.runtime.multipart import MultipartStore
from services.runtime.objects import ObjectInfo

Bodies = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Source:
    """One version of an object, of which ranges are read."""

    multipart: MultipartStore
    destination: Destination
    info: ObjectInfo

    async def read(self, start: int, end: int) -> bytes:
        """Bytes ``[start, end)``; ConflictError if the object is not there any more."""
        at = self.destination
        if start == end:
            return b""
        return await self.multipart.read_range(
            at.bucket, at.key, start, end, if_match=self.info.etag, version_id=self.info.version_id
        )

    async def longer(self, ending: Ending, since: int) -> Ending:
        """An ending that begins at ``since`` or earlier.

        Raises:
            ForeignFileError: there is no such byte.
        """
        if since >= ending.start:
            return ending
        if since < 0:
            raise ForeignFileError("its footer is longer than the file")
        return Ending(since, await self.read(since, ending.start) + ending.body)


@dataclass(frozen=True, slots=True)
class Job:
    """New rows, and the commit that brings them to a file of this layout."""

    layout: Layout
    rows: pa.Table
    commit_id: str

    def merge(self, offset: int, prior: Footer | None, group_rows: int) -> TailMerge:
        """The merge of these rows into what is written from ``offset`` on."""
        metadata = None if prior is None else prior.metadata
        return TailMerge(self.layout, GroupWriter(self.layout, self.commit_id, offset, metadata), self.rows, group_rows)


@dataclass(frozen=True, slots=True)
class NewEnd:
    """What follows the first ``kept`` bytes of a file; ``size`` is that of both, an estimate if the end is streamed."""

    kept: int
    bodies: Bodies
    size: int

    @classmethod
    def made(cls, kept: int, body: bytes) -> "NewEnd":
        """One that is in memory."""

        async def once() -> AsyncIterator[bytes]:
            yield body

        return cls(kept, once, kept + len(body))


async def laid_out(job: Job, old: pa.Table, group_rows: int) -> NewEnd:
    """A whole file of old and new rows."""
    merge = job.merge(0, None, group_rows)
    return NewEnd.made(0, await asyncio.to_thread(merge.take, old, last=True))


async def extended(job: Job, footer: Footer, size: int) -> NewEnd:
    """All that is there stays, its last footer as dead bytes."""
    merge = job.merge(size, footer, job.layout.target)
    return NewEnd.made(size, await asyncio.to_thread(merge.take, job.layout.schema.empty_table(), last=True))


async def replaced(job: Job, source: Source, footer: Footer, planned: Plan, ending: Ending) -> NewEnd:
    """The groups that do not stay are merged with the new rows.

    Raises:
        ForeignFileError: the groups that stay are not a file of their own.
        CorruptCheckpointError: the others cannot be read.
    """
    first = footer.groups[planned.kept]
    since = footer.groups[planned.kept - 1].end if planned.kept else first.start
    if not planned.is_streamed:
        ending = await source.longer(ending, since)
    elif planned.kept:
        ending = Ending(since, await source.read(since, first.start))
    prior = footer_before(ending, footer, planned.kept, job.layout) if planned.kept else None
    kept = first.start if planned.kept else 0

    async def windows() -> AsyncIterator[bytes]:
        merge = job.merge(kept, prior, planned.group_rows)
        for window in planned.windows:
            begin, after = footer.groups[window[0]].start, footer.groups[window[1] - 1].end
            body = await source.read(begin, after) if planned.is_streamed else ending.between(begin, after)
            slices = read_groups(Ending(begin, body), footer, window, job.layout, source.destination.uri)
            while (old := await asyncio.to_thread(next, slices, None)) is not None:
                yield await asyncio.to_thread(merge.take, old, last=False)
        yield await asyncio.to_thread(merge.take, job.layout.schema.empty_table(), last=True)

    if planned.is_streamed:
        return NewEnd(kept, windows, source.info.size)
    return NewEnd.made(kept, b"".join([body async for body in windows()]))
