"""The unique keys of a table, read from its own partition files.

The files are the truth about what was merged: no index beside them can go astray. What is known of a file holds for
one ETag: its range of keys comes with its head, and its keys are read only if that range meets what is looked for.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.targets import PartitionTarget
from services.runtime.checkpoints import Checkpoints
from services.runtime.failures import ConflictError, CorruptCheckpointError, MissingObjectError
from services.runtime.objects import ObjectInfo, ObjectStore

KEPT_BYTES = 64 * 1024 * 1024
"""Keys kept in memory between merges."""
READS_IN_FLIGHT = 4
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class _Extent:
    """What is known of one file without reading it; ``range`` is None for a file without rows."""

    etag: str
    range: tuple[str, str] | None


class S3TableKeys:
    """``TableKeys`` over the object store, with what was read or written last kept in memory."""

    def __init__(self, objects: ObjectStore, checkpoints: Checkpoints, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._objects = objects
        self._checkpoints = checkpoints
        self._kept_bytes = kept_bytes
        self._extents: dict[str, _Extent] = {}
        self._keys: OrderedDict[str, tuple[str, pa.ChunkedArray]] = OrderedDict()

    async def among(
        self, pipeline: Pipeline, scope: str, bucket: str, keys: pa.ChunkedArray
    ) -> Sequence[pa.ChunkedArray]:
        """See the port."""
        column = pipeline.row_key
        if len(keys) == 0 or column is None or not isinstance(pipeline.target, PartitionTarget):
            return []
        ends = pc.min_max(keys).as_py()
        files = [info async for info in self._objects.list(bucket, pipeline.target.prefix) if _is_data(info)]
        await self._learn(scope, bucket, files)
        near = [info for info in files if self._may_hold(f"{bucket}/{info.key}", info.etag, ends["min"], ends["max"])]
        limit = asyncio.Semaphore(READS_IN_FLIGHT)

        async def read(info: ObjectInfo) -> pa.ChunkedArray:
            async with limit:
                return await self._read(column, bucket, info)

        return await asyncio.gather(*(read(info) for info in near))

    def remember(self, bucket: str, info: ObjectInfo, keys: pa.ChunkedArray) -> None:
        """See the port."""
        self._keep(f"{bucket}/{info.key}", info.etag, keys)

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
                self._extents[head.checkpoint] = _Extent(etag, head.key_range)

    def _may_hold(self, name: str, etag: str, least: str, greatest: str) -> bool:
        known = self._extents.get(name)
        if known is None or known.etag != etag:
            return True
        return known.range is not None and known.range[0] <= greatest and least <= known.range[1]

    async def _read(self, column: str, bucket: str, info: ObjectInfo) -> pa.ChunkedArray:
        name = f"{bucket}/{info.key}"
        kept = self._keys.get(name)
        if kept is not None and kept[0] == info.etag:
            self._keys.move_to_end(name)
            return kept[1]
        try:
            stored = await self._objects.get(bucket, info.key)
        except MissingObjectError as error:
            raise ConflictError(f"s3://{name} went away while the table was read") from error
        keys = await asyncio.to_thread(_column, stored.body, column, f"s3://{name}")
        self._keep(name, stored.info.etag, keys)
        return keys

    def _keep(self, name: str, etag: str, keys: pa.ChunkedArray) -> None:
        ends = pc.min_max(keys).as_py()
        self._extents[name] = _Extent(etag, None if ends["min"] is None else (ends["min"], ends["max"]))
        self._keys[name] = (etag, keys)
        self._keys.move_to_end(name)
        while len(self._keys) > 1 and sum(kept.nbytes for _, kept in self._keys.values()) > self._kept_bytes:
            self._keys.popitem(last=False)


def _is_data(info: ObjectInfo) -> bool:
    return info.key.endswith(SUFFIX)


def _column(body: bytes, column: str, uri: str) -> pa.ChunkedArray:
    try:
        return pq.ParquetFile(io.BytesIO(body)).read(columns=[column]).column(column).cast(pa.string())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptCheckpointError(f"{uri} cannot be read as a part of the table: {error}") from error
