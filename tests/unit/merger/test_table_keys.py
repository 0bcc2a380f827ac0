"""What a table holds is asked of its files, and of as few of them as can matter."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.merger.adapters.keys import S3TableKeys
from services.runtime.checkpoints import Commit
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectInfo, Span, StoredObject
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.objects import FakeObjects
from tests.property.table_world import PIPELINE


class CountingObjects(FakeObjects):
    """A store that remembers what was read whole."""

    def __init__(self) -> None:
        super().__init__({"processed": True})
        self.read: list[str] = []

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """See ``ObjectStore``."""
        self.read.append(key)
        return await super().get(bucket, key, version_id=version_id, span=span)


class Table:
    """A tree of files, and who asks what is in it."""

    def __init__(self, *, kept_bytes: int = 1 << 20) -> None:
        self.objects, self.checkpoints = CountingObjects(), FakeCheckpoints()
        self.keys = S3TableKeys(self.objects, self.checkpoints, kept_bytes=kept_bytes)

    async def put(self, name: str, keys: list[str], *, is_recorded: bool = True) -> ObjectInfo:
        """A file with these keys; its head knows it unless its merger died."""
        sink = io.BytesIO()
        pq.write_table(pa.table({"key": keys, "said_by": keys}), sink)
        info = await self.objects.put("processed", f"processed/month={name}", sink.getvalue())
        if is_recorded:
            ends = (min(keys), max(keys)) if keys else None
            made = Commit(1, "merge", name, name, info.etag, None, len(keys), len(keys), "", key_range=ends)
            await self.checkpoints.register(PIPELINE.name, f"processed/processed/month={name}")
            await self.checkpoints.record(f"processed/processed/month={name}", made)
        return info

    async def among(self, *keys: str) -> set[str]:
        """Which keys are found in the files that can hold some of these."""
        wanted = pa.chunked_array([list(keys)], pa.string())
        found = await self.keys.among(PIPELINE, PIPELINE.name, "processed", wanted)
        return {key for each in found for key in each.to_pylist()}


async def test_only_files_whose_range_meets_are_read_and_only_once() -> None:
    """A head says which keys a file can hold; what was read is kept while the file stays the same."""
    table = Table()
    for name, keys in {"a.parquet": ["100", "150"], "b.parquet": ["200", "250"], "c.parquet": []}.items():
        await table.put(name, keys)
    await table.put("notes.txt", ["140"])
    assert await table.among("140", "150", "160") == {"100", "150"}
    assert await table.among("120") == {"100", "150"}
    assert await table.among("300") == set()
    assert table.objects.read == ["processed/month=a.parquet"]
    await table.put("a.parquet", ["100", "150", "160"])
    assert await table.among("160") == {"100", "150", "160"}
    assert table.objects.read == ["processed/month=a.parquet"] * 2


async def test_a_file_whose_head_lags_is_read() -> None:
    """What nobody recorded yet, or what another writer put there, still counts."""
    table = Table()
    await table.put("a.parquet", ["100"])
    await table.put("a.parquet", ["100", "900"], is_recorded=False)
    await table.put("foreign.parquet", ["901"], is_recorded=False)
    assert await table.among("900", "901") == {"100", "900", "901"}


async def test_what_was_just_committed_need_not_be_read() -> None:
    """The merger knows the keys it wrote."""
    table = Table()
    info = await table.put("a.parquet", ["100"], is_recorded=False)
    table.keys.remember("processed", info, pa.chunked_array([["100"]]))
    assert await table.among("100") == {"100"}
    assert table.objects.read == []


async def test_memory_is_bounded() -> None:
    """What does not fit is read again; the answer is the same."""
    table = Table(kept_bytes=1)
    await table.put("a.parquet", ["100", "200"])
    await table.put("b.parquet", ["150", "250"])
    for _ in range(2):
        assert await table.among("160") == {"100", "200", "150", "250"}
    assert len(table.objects.read) > 2


async def test_a_broken_file_stops_the_merge() -> None:
    """Without its keys nobody can say what is a duplicate; the text names the file."""
    table = Table()
    await table.objects.put("processed", "processed/month=a.parquet", b"not parquet")
    with pytest.raises(CorruptCheckpointError, match=r"s3://processed/processed/month=a\.parquet cannot be read"):
        await table.among("1")
