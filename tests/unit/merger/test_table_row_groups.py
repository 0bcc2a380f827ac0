"""Of a large partition file no more is read than its footer and the keys of the row groups that can matter."""

import io
from functools import partial

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.segments import Destination
from services.merger.adapters.spans import Reading
from services.merger.ports import AtHand
from services.runtime.failures import ConflictError, CorruptCheckpointError, MissingObjectError
from tests.property.table_world import PIPELINE
from tests.unit.merger.key_table import KEY, RANGED, Table, numbered, parquet


async def test_only_row_groups_whose_range_meets_are_read() -> None:
    """Of a large file the footer is read, and the keys of the row groups that can hold what is looked for."""
    table = Table(reading=RANGED)
    info = await table.put("a.parquet", numbered(0, 3000), group_rows=100)
    assert info.size > 3_000_000
    assert await table.among("000250", "002999x", "000299") == set(numbered(200, 300))
    assert len(table.objects.read) == 3, "the end, the rest of its footer, and one row group"
    assert table.objects.bytes < info.size / 30
    assert await table.among("000201") == set(numbered(200, 300))
    assert len(table.objects.read) == 3
    assert await table.among("000201", "000300") == set(numbered(200, 400))
    assert await table.among("000099x", "000299x") == set()
    assert await table.among("000000", "002999") == set(numbered(0, 100)) | set(numbered(2900, 3000))


async def test_row_groups_that_lie_close_are_read_together() -> None:
    """What is between them costs less than one more request, up to a limit."""
    table = Table(reading=Reading(whole=0, gap=200_000, span=350_000))
    await table.put("a.parquet", numbered(0, 1000), group_rows=100)
    assert await table.among(*numbered(0, 1000)) == set(numbered(0, 1000))
    assert len(table.objects.read) == 1 + 4


async def test_small_files_are_read_whole() -> None:
    """One request is enough for them."""
    table = Table()
    await table.put("a.parquet", numbered(0, 300), group_rows=100)
    assert await table.among("000150") == set(numbered(100, 200))
    assert await table.among("000250") == set(numbered(200, 300))
    assert len(table.objects.read) == 1


async def test_extremes_that_were_cut_off_are_not_believed() -> None:
    """Another writer's statistics may be the beginnings of keys only: then a row group may hold any key."""
    table, stem = Table(reading=RANGED), "k" * 100
    keys = [f"{stem}{number}" for number in range(9)]
    sink = io.BytesIO()
    pl.DataFrame({"key": keys, "said_by": keys}).write_parquet(sink)
    assert pq.read_metadata(io.BytesIO(sink.getvalue())).row_group(0).column(0).statistics.min != keys[0]
    await table.put_body("a.parquet", sink.getvalue())
    assert await table.among("any") == set(keys)


async def test_keys_without_statistics_are_read() -> None:
    """Of very long keys our own files have no statistics; such row groups may hold any key, and others not."""
    table, long = Table(reading=RANGED), "k" * 5_000
    await table.put("a.parquet", ["a", "b", long, "z"], group_rows=2)
    assert await table.among("c") == {long, "z"}
    assert await table.among("b") == {"a", "b", long, "z"}


@pytest.mark.parametrize("keeps_versions", [True, False])
async def test_a_file_that_changes_while_it_is_read(*, keeps_versions: bool) -> None:
    """All that is read is of one version; where that is gone, the merge starts over."""
    table = Table(reading=RANGED, keeps_versions=keeps_versions)
    await table.put("a.parquet", numbered(0, 1000), group_rows=100)
    change = partial(table.put, "a.parquet", numbered(500, 600), group_rows=10)
    for calm in (1, 2):

        async def nothing() -> None:
            """Happens before a read that goes well."""

        table.objects.meanwhile = [*[nothing] * calm, change]
        if keeps_versions:
            assert await table.among("000050") == set(numbered(0, 100))
        else:
            with pytest.raises(ConflictError, match="changed while it was read"):
                await table.among("000050")
        assert await table.among("000555") == set(numbered(550, 560))
        await table.put("a.parquet", numbered(0, 1000), group_rows=100)


async def test_a_file_that_goes_away_while_it_is_read() -> None:
    """The merge starts over, whichever request finds it gone."""
    for calm in (0, 1, 2):
        table = Table(reading=RANGED, keeps_versions=False)
        await table.put("a.parquet", numbered(0, 1000), group_rows=100)

        async def nothing() -> None:
            """Happens before a read that goes well."""

        table.objects.meanwhile = [*[nothing] * calm, partial(table.objects.delete, "processed", KEY)]
        with pytest.raises(ConflictError, match="went away"):
            await table.among("000050")


async def test_keys_of_row_groups_that_stay_are_not_read_again() -> None:
    """After our own append the keys of what was copied are known as before, and those of the new end as well."""
    table = Table(reading=RANGED)
    before = await table.put("a.parquet", numbered(0, 1000), group_rows=100)
    assert len(await table.among(*numbered(0, 900))) == 900
    reads = len(table.objects.read)
    whole = parquet(numbered(0, 1100), 100)
    copied = pq.read_metadata(io.BytesIO(whole)).row_group(5).column(0).dictionary_page_offset
    info = await table.put_body("a.parquet", whole)
    written = AtHand(copied, whole[copied:], copied, before.etag)
    await table.keys.remember(PIPELINE, "processed", info, written)
    assert await table.among(*numbered(0, 1100)) == set(numbered(0, 1100))
    assert len(table.objects.read) == reads
    await table.keys.remember(PIPELINE, "processed", info, AtHand(copied, whole[copied:], copied, "another"))
    assert await table.among(*numbered(0, 1100)) == set(numbered(0, 1100))
    assert len(table.objects.read) > reads, "what was copied from another object is not what was known"


async def test_what_others_hold_of_a_version() -> None:
    """Of the version its keys are read, and of other files those that may be among them; it is no other file itself."""
    table = Table(reading=RANGED)
    before = await table.put("a.parquet", numbered(0, 1000), group_rows=100)
    await table.put("a.parquet", numbered(0, 200), group_rows=100)
    await table.put("b.parquet", [*numbered(150, 160), *numbered(900, 1100)], group_rows=10)
    await table.put_body("c.parquet", b"not parquet")
    at = Destination(bucket="processed", key=KEY)
    assert before.version_id is not None
    shared = await table.keys.elsewhere(PIPELINE, PIPELINE.name, at, before.version_id)
    assert shared is not None
    assert sorted(shared.to_pylist()) == [*numbered(150, 160), *numbered(900, 1000)]
    assert table.objects.bytes < before.size / 10
    with pytest.raises(MissingObjectError, match="version v9"):
        await table.keys.elsewhere(PIPELINE, PIPELINE.name, at, "v9")


async def test_an_end_without_its_footer_is_not_remembered() -> None:
    """Where an end at hand is shorter than the footer, the file is asked."""
    table, body = Table(), parquet(["100"])
    info = await table.put("a.parquet", ["100"])
    await table.keys.remember(PIPELINE, "processed", info, AtHand(len(body) - 20, body[-20:]))
    assert await table.among("100") == {"100"}
    assert len(table.objects.read) == 1


async def test_a_damaged_row_group_stops_the_merge() -> None:
    """What cannot be read may hold any key; the text names the file."""
    table, body = Table(reading=RANGED), bytearray(parquet(numbered(0, 1000), 100))
    column = pq.read_metadata(io.BytesIO(bytes(body))).row_group(5).column(0)
    start = column.dictionary_page_offset
    body[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    await table.put_body("a.parquet", bytes(body))
    assert await table.among("000050") == set(numbered(0, 100))
    with pytest.raises(CorruptCheckpointError, match=r"s3://processed/processed/month=a\.parquet cannot be read"):
        await table.among("000550")


@pytest.mark.parametrize(
    "body", [b"PAR1", b"not parquet" * 500, bytes(3_000) + (5_000_000).to_bytes(4, "little") + b"PAR1"]
)
async def test_no_parquet_is_no_part_of_the_table(body: bytes) -> None:
    """Whatever stands where a footer should be."""
    table = Table(reading=RANGED)
    await table.put_body("a.parquet", body)
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        await table.among("1")


async def test_a_file_without_the_key_column() -> None:
    """It cannot be asked; the text names file and column."""
    table, sink = Table(), io.BytesIO()
    pq.write_table(pa.table({"other": ["a"]}), sink)
    await table.put_body("a.parquet", sink.getvalue())
    with pytest.raises(CorruptCheckpointError, match=r"month=a\.parquet cannot be read.*'key'"):
        await table.among("1")
