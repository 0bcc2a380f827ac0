"""The rewrite strategy: read the whole checkpoint, add the rows, sort, write it whole.

As good as any while the checkpoint is small; its cost grows with the checkpoint.
"""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.key_column import Range, range_of
from services.merger.adapters.tables import greatest, keys_of, schema_of, sort_stable, to_parquet
from services.merger.ports import AtHand
from services.runtime.failures import ConflictError, CorruptCheckpointError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore

PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class PreparedRewrite:
    """A whole new content in memory."""

    objects: ObjectStore
    destination: Destination
    base: ObjectInfo | None
    body: bytes
    total_rows: int
    max_cursor: str | None
    key_range: Range | None = None
    strategy: str = "rewrite"

    @property
    def size(self) -> int:
        """Bytes of the new object."""
        return len(self.body)

    @property
    def at_hand(self) -> AtHand | None:
        """All of it; None where rows have no key of their own."""
        return None if self.key_range is None else AtHand(0, self.body)

    async def put(self, metadata: Mapping[str, str]) -> ObjectInfo:
        """See the port."""
        try:
            return await self.objects.put(
                self.destination.bucket,
                self.destination.key,
                self.body,
                if_match=IF_ABSENT if self.base is None else self.base.etag,
                metadata=metadata,
                content_type=PARQUET,
            )
        finally:
            pa.default_memory_pool().release_unused()  # a merge is over: an idle merger should be small again


class Rewrite:
    """Rewrites the checkpoint whole."""

    name = "rewrite"

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def prepare(
        self, destination: Destination, pipeline: Pipeline, base: ObjectInfo | None, rows: pa.Table, commit_id: str
    ) -> PreparedRewrite:
        """See the port."""
        before = b"" if base is None else await self._read(destination, base)
        body, merged = await asyncio.to_thread(_merge, before, rows, pipeline, destination.uri, commit_id)
        return PreparedRewrite(
            self._objects,
            destination,
            base,
            body,
            merged.num_rows,
            greatest(merged, pipeline.target.order_by),
            range_of(keys_of(merged, pipeline)),
        )

    async def prepare_restored(
        self,
        destination: Destination,
        pipeline: Pipeline,
        base: ObjectInfo | None,
        earlier: str | None,
        commit_id: str,
        without: pa.ChunkedArray | None = None,
    ) -> PreparedRewrite:
        """See the port. The bytes are written anew with this commit's stamp, so that no old ETag comes back."""
        before = b""
        if earlier is not None:
            before = (await self._objects.get(destination.bucket, destination.key, version_id=earlier)).body
        none = schema_of(pipeline.output_columns).empty_table()
        body, merged = await asyncio.to_thread(_merge, before, none, pipeline, destination.uri, commit_id, without)
        return PreparedRewrite(
            self._objects,
            destination,
            base,
            body,
            merged.num_rows,
            greatest(merged, pipeline.target.order_by),
            range_of(keys_of(merged, pipeline)),
        )

    async def _read(self, destination: Destination, base: ObjectInfo) -> bytes:
        try:
            stored = await self._objects.get(destination.bucket, destination.key, version_id=base.version_id)
        except MissingObjectError as error:
            raise ConflictError(f"{destination.uri} went away while it was being merged") from error
        if stored.info.etag != base.etag:
            raise ConflictError(f"{destination.uri} changed while it was being merged")
        return stored.body


def _merge(
    before: bytes,
    rows: pa.Table,
    pipeline: Pipeline,
    uri: str,
    commit_id: str,
    without: pa.ChunkedArray | None = None,
) -> tuple[bytes, pa.Table]:
    schema = schema_of(pipeline.output_columns)
    old = read_checkpoint(before, schema, uri) if before else schema.empty_table()
    keys = keys_of(old, pipeline)
    if without and keys is not None:
        old = old.filter(pc.invert(pc.is_in(keys, value_set=without.combine_chunks())))
    merged = sort_stable(pa.concat_tables([old, rows.select(schema.names).cast(schema)]), pipeline.target.order_by)
    return to_parquet(merged, commit_id), merged


def read_checkpoint(body: bytes, schema: pa.Schema, uri: str) -> pa.Table:
    """The rows of a checkpoint file.

    Raises:
        CorruptCheckpointError: it is not Parquet, or not with this schema.
    """
    try:
        table = pq.ParquetFile(io.BytesIO(body)).read()  # read_table would load the dataset library for one file
        if table.schema.names != schema.names:
            raise CorruptCheckpointError(f"{uri} has columns {table.schema.names}, not {schema.names}")
        return table.cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise CorruptCheckpointError(f"{uri} cannot be read as a checkpoint: {error}") from error
