"""A tree of partition files, and who asks which keys are in it."""

import io
from collections.abc import Awaitable, Callable
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.spans import USUAL, Reading
from services.runtime.checkpoints import Commit
from services.runtime.objects import ObjectInfo, Span, StoredObject
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.objects import FakeObjects
from tests.property.table_world import PIPELINE

KEY = "processed/month=a.parquet"
RANGED = Reading(whole=0, footer=2_000, gap=0, span=1 << 20)
"""No file is small enough to be read whole."""


class CountingObjects(FakeObjects):
    """A store that remembers what was read; ``meanwhile`` happens before the next read."""

    def __init__(self, *, keeps_versions: bool = True) -> None:
        super().__init__({"processed": keeps_versions})
        self.read: list[str] = []
        self.bytes = 0
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """See ``ObjectStore``."""
        if self.meanwhile:
            await self.meanwhile.pop(0)()
        self.read.append(key)
        found = await super().get(bucket, key, version_id=version_id, span=span)
        self.bytes += len(found.body)
        return found


class Table:
    """A tree of files, and who asks what is in it."""

    def __init__(self, *, kept_bytes: int = 1 << 20, reading: Reading = USUAL, keeps_versions: bool = True) -> None:
        self.objects, self.checkpoints = CountingObjects(keeps_versions=keeps_versions), FakeCheckpoints()
        self.keys = S3TableKeys(self.objects, self.checkpoints, kept_bytes=kept_bytes, reading=reading)

    async def put(self, name: str, keys: list[str], *, is_recorded: bool = True, group_rows: int = 1000) -> ObjectInfo:
        """A file with these keys; its head knows it unless its merger died."""
        info = await self.put_body(name, parquet(keys, group_rows))
        if is_recorded:
            ends = (min(keys), max(keys)) if keys else None
            made = Commit(1, "merge", name, name, info.etag, None, len(keys), len(keys), "", key_range=ends)
            await self.checkpoints.register(PIPELINE.name, f"processed/processed/month={name}")
            await self.checkpoints.record(f"processed/processed/month={name}", made)
        return info

    async def put_body(self, name: str, body: bytes) -> ObjectInfo:
        """A file that no head knows."""
        return await self.objects.put("processed", f"processed/month={name}", body)

    async def among(self, *keys: str) -> set[str]:
        """Which keys are found where some of these may be."""
        wanted = pa.chunked_array([list(keys)], pa.string())
        found = await self.keys.among(PIPELINE, PIPELINE.name, "processed", wanted)
        return {key for each in found for key in each.to_pylist()}


def parquet(keys: list[str], group_rows: int = 1000) -> bytes:
    """A file of rows that are much wider than their keys."""
    sink = io.BytesIO()
    wide = [Random(key).randbytes(600).hex() for key in keys]  # noqa: S311 - to be the same every time
    pq.write_table(pa.table({"key": keys, "said_by": wide}), sink, row_group_size=group_rows)
    return sink.getvalue()


def numbered(first: int, after: int) -> list[str]:
    """Keys in order."""
    return [f"{number:06}" for number in range(first, after)]
