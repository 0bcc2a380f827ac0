"""The unique keys of a table, read from its own partition files.

The files are the truth about what was merged: no index beside them can go astray. What is known of a file holds for
one ETag. Its range of keys comes with its head; of a large file whose range meets what is looked for the footer is
read, and of its row groups the keys of those whose statistics meet it, too.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from contracts.targets import PartitionTarget
from services.merger.adapters.key_column import Chunk, Everything, KeyFile, Range, Wanted, joined
from services.merger.adapters.spans import USUAL, Pinned, Reading, footer_bytes, read_end
from services.merger.ports import AtHand
from services.runtime.checkpoints import Checkpoints
from services.runtime.failures import ConflictError, CorruptCheckpointError, MissingObjectError
from services.runtime.objects import ObjectInfo, ObjectStore, StoredObject

log = structlog.get_logger()

KEPT_BYTES = 64 * 1024 * 1024
"""Keys kept in memory between merges."""
CHUNK_BYTES = 256
"""What is counted for a row group whose keys are not kept."""
READS_IN_FLIGHT = 4
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class _Extent:
    """What is known of one file without reading it: it has no rows, or keys in a range; any keys where that is None."""

    etag: str
    is_empty: bool
    range: Range | None


@dataclass(frozen=True, slots=True)
class _Keys:
    """What was read of one file: where each row group's keys lie, and the keys of some, by where these start."""

    etag: str
    chunks: tuple[Chunk, ...]
    known: Mapping[int, pa.ChunkedArray]

    @property
    def nbytes(self) -> int:
        return CHUNK_BYTES * len(self.chunks) + sum(int(keys.nbytes) for keys in self.known.values())

    @property
    def extent(self) -> _Extent:
        ranges = [chunk.range for chunk in self.chunks if chunk.rows]
        known = [found for found in ranges if found is not None]
        return _Extent(self.etag, not ranges, joined(known) if len(known) == len(ranges) else None)

    def lacking(self, wanted: Wanted) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.start not in self.known and wanted.may_be_in(chunk)]

    def near(self, wanted: Wanted) -> list[pa.ChunkedArray]:
        return [self.known[chunk.start] for chunk in self.chunks if wanted.may_be_in(chunk)]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for, where, and how many requests may be on their way."""

    column: str
    bucket: str
    wanted: Wanted
    limit: asyncio.Semaphore


class S3TableKeys:
    """``TableKeys`` over the object store, with what was read or written last kept in memory."""

    def __init__(
        self,
        objects: ObjectStore,
        checkpoints: Checkpoints,
        *,
        kept_bytes: int = KEPT_BYTES,
        reading: Reading = USUAL,
    ) -> None:
        self._objects = objects
        self._reading = reading
        self._checkpoints = checkpoints
        self._kept_bytes = kept_bytes
        self._extents: dict[str, _Extent] = {}
        self._keys: OrderedDict[str, _Keys] = OrderedDict()

    async def among(
        self, pipeline: Pipeline, scope: str, bucket: str, keys: pa.ChunkedArray
    ) -> Sequence[pa.ChunkedArray]:
        """See the port."""
        if len(keys) == 0 or pipeline.row_key is None:
            return []
        search = await self._search(pipeline.row_key, bucket, keys)
        found = await asyncio.gather(*(self._read(search, info) for info in await self._near(pipeline, scope, search)))
        return [chunk for each in found for chunk in each]

    async def elsewhere(
        self, pipeline: Pipeline, scope: str, at: Destination, object_version: str
    ) -> pa.ChunkedArray | None:
        """See the port."""
        if pipeline.row_key is None:
            return None
        end = await read_end(self._objects, at.bucket, at.key, None, self._reading, version_id=object_version)
        version = _Search(pipeline.row_key, at.bucket, Everything(), asyncio.Semaphore(READS_IN_FLIGHT))
        keys = _one((await self._filled(version, end)).near(version.wanted))
        search = await self._search(pipeline.row_key, at.bucket, keys)
        near = [info for info in await self._near(pipeline, scope, search) if info.key != at.key]
        return _one(await asyncio.gather(*(self._shared(search, info, keys) for info in near)))

    async def _search(self, column: str, bucket: str, keys: pa.ChunkedArray) -> _Search:
        return _Search(column, bucket, await asyncio.to_thread(Wanted, keys), asyncio.Semaphore(READS_IN_FLIGHT))

    async def _near(self, pipeline: Pipeline, scope: str, search: _Search) -> list[ObjectInfo]:
        """Files that may hold what is looked for."""
        if not isinstance(pipeline.target, PartitionTarget):
            return []
        files = [info async for info in self._objects.list(search.bucket, pipeline.target.prefix) if _is_data(info)]
        await self._learn(scope, search.bucket, files)
        return [info for info in files if self._may_hold(f"{search.bucket}/{info.key}", info.etag, search.wanted)]

    async def remember(self, pipeline: Pipeline, bucket: str, info: ObjectInfo, written: AtHand) -> None:
        """See the port. Of row groups that were copied the keys are known if they were before."""
        column, name = pipeline.row_key, f"{bucket}/{info.key}"
        if column is None or footer_bytes(written.body) > len(written.body):
            return
        size = written.start + len(written.body)
        end = StoredObject(written.body, ObjectInfo(info.key, info.etag, size))
        file = await asyncio.to_thread(KeyFile, end, column, f"s3://{name}")
        found = await asyncio.to_thread(file.within, written.start)
        before = self._keys.get(name)
        if before is not None and before.etag == written.copied_from:
            copied = {chunk.start for chunk in file.chunks if chunk.end <= written.copied}
            found |= {start: keys for start, keys in before.known.items() if start in copied}
        self._keep(name, _Keys(info.etag, file.chunks, found))

    async def _learn(self, scope: str, bucket: str, files: Sequence[ObjectInfo]) -> None:
        """Take the key ranges of files that changed from their heads, if these know the change already."""
        names = {f"{bucket}/{info.key}": info.etag for info in files}
        for gone in self._extents.keys() - names.keys():
            del self._extents[gone]
        if all(name in self._extents and self._extents[name].etag == etag for name, etag in names.items()):
            return
        for head in await self._checkpoints.list(scope):
            etag = names.get(head.checkpoint)
            if etag is not None and head.etag == etag and (head.key_range is not None or head.total_rows == 0):
                self._extents[head.checkpoint] = _Extent(etag, head.total_rows == 0, head.key_range)

    def _may_hold(self, name: str, etag: str, wanted: Wanted) -> bool:
        known = self._extents.get(name)
        return known is None or known.etag != etag or (not known.is_empty and wanted.meet(known.range))

    async def _read(self, search: _Search, info: ObjectInfo) -> list[pa.ChunkedArray]:
        name = f"{search.bucket}/{info.key}"
        kept = self._keys.get(name)
        if kept is None or kept.etag != info.etag or kept.lacking(search.wanted):
            kept = await self._fetched(search, info)
        self._keep(name, kept)
        return kept.near(search.wanted)

    async def _shared(self, search: _Search, info: ObjectInfo, keys: pa.ChunkedArray) -> pa.ChunkedArray:
        """None of a file that cannot be read: when that is restored in its turn, it leaves out what is elsewhere."""
        try:
            found = _one(await self._read(search, info))
        except CorruptCheckpointError as error:
            log.warning("another file of the table is damaged, too", error=str(error))
            return pa.chunked_array([], pa.string())
        return await asyncio.to_thread(_both, found, keys)

    async def _fetched(self, search: _Search, info: ObjectInfo) -> _Keys:
        name = f"{search.bucket}/{info.key}"
        try:
            async with search.limit:
                end = await read_end(self._objects, search.bucket, info.key, info.size, self._reading)
        except MissingObjectError as error:
            raise ConflictError(f"s3://{name} went away while the table was read") from error
        return await self._filled(search, end)

    async def _filled(self, search: _Search, end: StoredObject) -> _Keys:
        """What was known of a file whose end this is, and the keys that are looked for and were not known."""
        name = f"{search.bucket}/{end.info.key}"
        file = await asyncio.to_thread(KeyFile, end, search.column, f"s3://{name}")
        known = await asyncio.to_thread(file.within, end.info.size - len(end.body))
        before = self._keys.get(name)
        if before is not None and before.etag == end.info.etag:
            known = {**before.known, **known}
        version = Pinned(self._objects, search.bucket, end.info)

        async def read(chunks: Sequence[Chunk]) -> dict[int, pa.ChunkedArray]:
            start = chunks[0].start
            async with search.limit:
                body = await version.read(start, chunks[-1].end)
                return await asyncio.to_thread(file.read, chunks, start, body)

        lacking = _Keys(end.info.etag, file.chunks, known).lacking(search.wanted)
        for found in await asyncio.gather(*map(read, _together(lacking, self._reading))):
            known |= found
        return _Keys(end.info.etag, file.chunks, known)

    def _keep(self, name: str, keys: _Keys) -> None:
        self._extents[name] = keys.extent
        self._keys[name] = keys
        self._keys.move_to_end(name)
        while self._keys and sum(kept.nbytes for kept in self._keys.values()) > self._kept_bytes:
            self._keys.popitem(last=False)


def _one(found: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for each in found for chunk in each.chunks], pa.string())


def _both(found: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.ChunkedArray:
    return found.filter(pc.is_in(found, value_set=keys.combine_chunks()))


def _is_data(info: ObjectInfo) -> bool:
    return info.key.endswith(SUFFIX)


def _together(chunks: Sequence[Chunk], reading: Reading) -> list[list[Chunk]]:
    """Row groups whose keys are read in one request, in the order they lie in."""
    found: list[list[Chunk]] = []
    for chunk in sorted(chunks, key=lambda chunk: chunk.start):
        last = found[-1] if found else None
        if last is None or chunk.start - last[-1].end > reading.gap or chunk.end - last[0].start > reading.span:
            found.append([chunk])
        else:
            last.append(chunk)
    return found
