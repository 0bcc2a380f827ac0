"""What a table holds is asked of its files, and of as few of them as can matter."""

import pytest

from services.merger.ports import AtHand
from services.runtime.failures import CorruptCheckpointError
from tests.property.table_world import PIPELINE
from tests.unit.merger.key_table import Table, parquet


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
    assert await table.among("900", "901") == set()
    await table.put("a.parquet", ["100", "900"], is_recorded=False)
    await table.put("foreign.parquet", ["901"], is_recorded=False)
    assert await table.among("900", "901") == {"100", "900", "901"}


async def test_what_was_just_committed_need_not_be_read() -> None:
    """The merger knows the keys it wrote."""
    table = Table()
    info = await table.put("a.parquet", ["100"], is_recorded=False)
    await table.keys.remember(PIPELINE, "processed", info, AtHand(0, parquet(["100"])))
    assert await table.among("100") == {"100"}
    assert table.objects.read == []


async def test_memory_is_bounded() -> None:
    """What does not fit is read again; the answer is the same."""
    table = Table(kept_bytes=1)
    await table.put("a.parquet", ["100", "200"])
    await table.put("b.parquet", ["150", "250"])
    for _ in range(2):
        assert await table.among("160") == {"100", "200", "150", "250"}
    assert len(table.objects.read) == 4


async def test_a_broken_file_stops_the_merge() -> None:
    """Without its keys nobody can say what is a duplicate; the text names the file."""
    table = Table()
    await table.objects.put("processed", "processed/month=a.parquet", b"not parquet")
    with pytest.raises(CorruptCheckpointError, match=r"s3://processed/processed/month=a\.parquet cannot be read"):
        await table.among("1")
