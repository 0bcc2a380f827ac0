"""The unique keys of a table, read from its own partition files.

The files are the truth about what was merged: no index beside them can go astray. What is known of a file holds for
one ETag. Its range of keys comes with its head; of a large file whose range meets what is looked for the footer is
read, and of its row groups the keys of those whose statistics meet it, too.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.targets import PartitionTarget
from services.merger.adapters.key_column import Chunk, Range, Wanted, chunks_of, joined, read_chunks
from services.merger.adapters.spans import USUAL, Pinned, Reading, Spans, footer_bytes, read_end
from services.merger.ports import AtHand
from services.runtime.checkpoints import Checkpoints
from services.runtime.failures import ConflictError, CorruptCheckpointError, MissingObjectError
from services.runtime.objects import ObjectInfo, ObjectStore, StoredObject

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
        column = pipeline.row_key
        if len(keys) == 0 or column is None or not isinstance(pipeline.target, PartitionTarget):
            return []
        files = [info async for info in self._objects.list(bucket, pipeline.target.prefix) if _is_data(info)]
        await self._learn(scope, bucket, files)
        wanted = await asyncio.to_thread(Wanted, keys)
        near = [info for info in files if self._may_hold(f"{bucket}/{info.key}", info.etag, wanted)]
        limit = asyncio.Semaphore(READS_IN_FLIGHT)

        reads = [self._read(_Search(column, bucket, wanted, limit), info) for info in near]
        return [found for each in await asyncio.gather(*reads) for found in each]

    async def remember(self, pipeline: Pipeline, bucket: str, info: ObjectInfo, written: AtHand) -> None:
        """See the port. Of row groups that were copied the keys are known if they were before."""
        column, name = pipeline.row_key, f"{bucket}/{info.key}"
        if column is None or footer_bytes(written.body) > len(written.body):
            return
        size = written.start + len(written.body)
        end = StoredObject(written.body, ObjectInfo(info.key, info.etag, size))
        file = await asyncio.to_thread(_File, end, column, f"s3://{name}")
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

    async def _fetched(self, search: _Search, info: ObjectInfo) -> _Keys:
        name = f"{search.bucket}/{info.key}"
        try:
            async with search.limit:
                end = await read_end(self._objects, search.bucket, info.key, info.size, self._reading)
        except MissingObjectError as error:
            raise ConflictError(f"s3://{name} went away while the table was read") from error
        file = await asyncio.to_thread(_File, end, search.column, f"s3://{name}")
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


class _File:
    """A file of which the end is in memory; what cannot be read of it is a CorruptCheckpointError that names it."""

    def __init__(self, end: StoredObject, column: str, uri: str) -> None:
        self._end, self._column, self._uri = end, column, uri
        try:
            self._metadata = pq.read_metadata(io.BytesIO(end.body))
            self.chunks = chunks_of(self._metadata, column)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise self._corrupt(error) from error

    def within(self, start: int) -> dict[int, pa.ChunkedArray]:
        """Keys of the row groups after ``start``, where the end begins."""
        return self.read([chunk for chunk in self.chunks if chunk.start >= start], start, self._end.body)

    def read(self, chunks: Sequence[Chunk], start: int, body: bytes) -> dict[int, pa.ChunkedArray]:
        """Keys of row groups that lie in these bytes, which begin at ``start``."""
        source = Spans(self._end.info.size)
        source.add(start, body)
        try:
            return read_chunks(self._metadata, self._column, chunks, source)
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(error) from error

    def _corrupt(self, error: Exception) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{self._uri} cannot be read as a part of the table: {error}")


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
