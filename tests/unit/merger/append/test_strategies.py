"""Which strategy merges what, and what it does where the store refuses."""

import asyncio
import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from services.merger.adapters.append.assembly import Assembly, Stores
from services.merger.adapters.append.layout import LAYOUT_KEY
from services.merger.adapters.append.strategy import Sizes
from services.merger.core.commits import STAMP_COMMIT
from services.runtime.failures import ConflictError, CorruptCheckpointError, UnreachableError
from services.runtime.multipart import MIB, Part, Upload
from services.runtime.objects import ObjectInfo, StoredObject
from tests.fakes.effects import Effects
from tests.fakes.multipart import FakeMultipart
from tests.fakes.network import Fate, ScriptedNetwork
from tests.fakes.objects import FakeObjects
from tests.property.append_world import DESTINATION, PART_BYTES, SMALLEST_PART, AppendWorld, Merge, When, ordered_by

LONGER_ENDING = Sizes(target=8, ending_bytes=50_000)
"""So long that the footer of thirty groups is in it."""
AT = (DESTINATION.bucket, DESTINATION.key)


class CountedReads(FakeMultipart):
    """Counts the bytes that are read."""

    read = 0

    async def read_range(
        self, bucket: str, key: str, start: int, end: int, *, if_match: str, version_id: str | None = None
    ) -> bytes:
        """See ``MultipartStore``."""
        self.read += end - start
        return await super().read_range(bucket, key, start, end, if_match=if_match, version_id=version_id)


async def grown(world: AppendWorld, *sizes: int) -> AppendWorld:
    """The world after merges of so many newer rows."""
    for seed, rows in enumerate(sizes):
        await world.merge(world.rows(Merge(When.NEWER, rows, seed)))
    return world


def without(table: pa.Table, column: str) -> pa.Table:
    """These rows, of which the last has nothing in a column."""
    values = [*table.column(column).to_pylist()[:-1], None]
    field = table.schema.field(column)
    return table.set_column(table.schema.names.index(column), field, pa.array(values, field.type))


async def test_small_checkpoints_are_rewritten_and_large_ones_appended_to() -> None:
    """A checkpoint is rewritten until it is large, then laid out once, and appended to from then on."""
    world = await grown(AppendWorld(append_from=6_000), 20, 400, 20, 20)
    assert world.ways == ["rewrite", "rewrite", "append-laid-out", "append"]


@pytest.mark.parametrize("order_by", ["timestamp", "visit_date", "pipeline_adcid"])
async def test_orders_that_can_be_appended_in(order_by: str) -> None:
    """Times, dates and integers."""
    assert (await grown(AppendWorld(ordered_by(order_by)), 9, 9)).ways[-1] == "append"


async def test_an_order_of_texts_is_rewritten() -> None:
    """Statistics of texts need not be the texts."""
    assert (await grown(AppendWorld(ordered_by("ptid")), 9, 9)).ways == ["rewrite", "rewrite"]


async def test_rows_without_a_place_in_the_order_are_rewritten() -> None:
    """A new row without a moment has no place among groups, and neither has an old one; nothing is lost by either."""
    world = await grown(AppendWorld(), 5)
    await world.merge(without(world.rows(Merge(When.NEWER, 3, 1)), "timestamp"))
    assert world.ways[-1] == "rewrite"
    prepared, _ = await world.prepare(world.rows(Merge(When.NEWER, 3, 2)))
    assert prepared.strategy == "rewrite"
    assert prepared.total_rows == 11


async def test_only_the_end_is_read() -> None:
    """Newer rows cost one read of the file's end, whatever stands before it; the store copies the rest."""
    world = await grown(AppendWorld(sizes=LONGER_ENDING), *[8] * 30)
    counted = CountedReads(world.objects, smallest=SMALLEST_PART)
    strategy = world.strategy(stores=Stores(world.objects, counted, SMALLEST_PART, PART_BYTES))
    size = len(world.body)
    rows = world.rows(Merge(When.NEWER, 8, 99))
    prepared, commit_id = await world.prepare(rows, strategy)
    await world.put(prepared, commit_id, world.naive(rows))
    assert size > 200_000
    assert counted.read == LONGER_ENDING.ending_bytes
    assert counted.copied == size


async def test_a_restored_version_is_copied() -> None:
    """Bringing an earlier version back reads its footer and copies the rest."""
    world = await grown(AppendWorld(sizes=LONGER_ENDING), 30, 5, 5)
    counted = CountedReads(world.objects, smallest=SMALLEST_PART)
    strategy = world.strategy(stores=Stores(world.objects, counted, SMALLEST_PART, PART_BYTES))
    earlier, now = (await versions(world))[1:]
    prepared = await strategy.prepare_restored(DESTINATION, world.pipeline, now, earlier.version_id, "c9")
    await world.put(prepared, "c9", world.history[1])
    assert (prepared.strategy, counted.read, counted.copied) == ("append", 0, earlier.size)


async def test_a_small_beginning_is_put_with_the_rest() -> None:
    """What is too small to be a part is read, and the whole is put as one object, on the same condition."""
    world = await grown(AppendWorld(), 30)
    strategy = world.strategy(stores=Stores(world.objects, world.multipart))
    rows = world.rows(Merge(When.NEWER, 4, 1))
    prepared, commit_id = await world.prepare(rows, strategy)
    loser, _ = await world.prepare(rows, strategy)
    await world.put(prepared, commit_id, world.naive(rows))
    assert "-" not in (await stored(world)).info.etag
    with pytest.raises(ConflictError):
        await loser.put({STAMP_COMMIT: "loser"})


async def test_a_bucket_without_versions() -> None:
    """Without version ids the ETag alone pins what is read and copied."""
    world = AppendWorld(keeps_versions=False)
    await grown(world, 30, 5, 5)
    await world.race(world.rows(Merge(When.LATE, 3, 1)), world.rows(Merge(When.LATE, 3, 2)))
    assert world.ways.count("append") >= 3


async def test_an_object_that_changed_is_a_conflict() -> None:
    """Who looked at another object than is there now starts over."""
    world = await grown(AppendWorld(), 5)
    base = await world.objects.head(*AT)
    assert base is not None
    rows = world.rows(Merge(When.NEWER, 1, 1))
    await grown(world, 5)
    with pytest.raises(ConflictError):
        await world.strategy().prepare(DESTINATION, world.pipeline, replace(base, version_id=None), rows, "late")
    await world.objects.delete(*AT)
    with pytest.raises(ConflictError):
        await world.strategy().prepare(DESTINATION, world.pipeline, replace(base, version_id=None), rows, "later")


async def test_groups_that_cannot_be_read() -> None:
    """Damage in the groups that have to be read is said to be damage; nothing is written."""
    world = await grown(AppendWorld(), 30)
    last = world.groups(world.body)[-1]
    found = await stored(world)
    damaged = world.body[: last.start] + bytes(last.end - last.start) + world.body[last.end :]
    world.objects.buckets[AT[0]].keys[AT[1]][-1] = StoredObject(damaged, found.info)
    rows = world.rows(Merge(When.ANYWHERE, 9, 1))
    with pytest.raises(CorruptCheckpointError, match=r"s3://checkpoints/events.parquet cannot be read"):
        await world.strategy().prepare(DESTINATION, world.pipeline, found.info, rows, "c9")


async def test_other_columns_are_damage() -> None:
    """A checkpoint with other columns is not this pipeline's."""
    world = AppendWorld()
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    await world.objects.put(*AT, sink.getvalue())
    rows = world.rows(Merge(When.NEWER, 1, 1))
    with pytest.raises(CorruptCheckpointError, match="has columns"):
        await world.prepare(rows)


async def test_the_first_append_lays_a_file_out() -> None:
    """What the rewrite made is laid out by the first append, and says so."""
    world = await grown(AppendWorld(append_from=10**9), 30)
    assert LAYOUT_KEY not in pq.ParquetFile(io.BytesIO(world.body)).metadata.metadata
    world.append_from = 0
    with capture_logs() as lines:
        await grown(world, 3)
    assert world.ways == ["rewrite", "append-laid-out"]
    (line,) = [line for line in lines if "reason" in line]
    assert line["reason"] == "its layout is None"


async def test_an_upload_that_cannot_be_given_up() -> None:
    """Why a merge failed is what is told, even if giving its parts up fails as well; that is logged."""
    world = await grown(AppendWorld(), 30)
    network = ScriptedNetwork()
    strategy = world.strategy(Effects(network=network))
    prepared, commit_id = await world.prepare(world.rows(Merge(When.NEWER, 3, 1)), strategy)
    network.next(Fate.DELIVERED, Fate.DELIVERED, Fate.REQUEST_LOST, Fate.REQUEST_LOST)
    with capture_logs() as lines, pytest.raises(UnreachableError, match="put part 2"):
        await prepared.put({STAMP_COMMIT: commit_id})
    (line,) = lines
    assert (line["log_level"], line["upload"]) == ("warning", next(iter(world.multipart.pending)))
    assert "abort" in line["error"]


async def test_every_copy_is_seen_to_its_end() -> None:
    """A copy that comes after its upload was given up would keep its bytes for ever, so none is left on its way."""
    world = await grown(AppendWorld(), 30)
    base = (await stored(world)).info
    copies = SlowCopies(world.objects, smallest=1)
    stores = Stores(world.objects, copies, 1, PART_BYTES)
    with pytest.raises(ConflictError, match="the first copy"):
        async with Assembly(stores, DESTINATION, base, {STAMP_COMMIT: "c9"}) as assembly:
            await assembly.keep(replace(base, size=30 * MIB), 30 * MIB)
    assert copies.seen == ["copy 1 refused", "copy 2 done", "copy 3 done", "abort"]


class SlowCopies(FakeMultipart):
    """The first copy is refused while the others are on their way."""

    def __init__(self, objects: FakeObjects, *, smallest: int) -> None:
        super().__init__(objects, smallest=smallest)
        self.seen: list[str] = []

    async def copy_part(self, upload: Upload, number: int, source: ObjectInfo, start: int, end: int) -> Part:
        """See ``MultipartStore``."""
        del upload
        if number == 1:
            self.seen.append("copy 1 refused")
            raise ConflictError("the first copy")
        for _ in range(5):
            await asyncio.sleep(0)
        self.seen.append(f"copy {number} done")
        return Part(number, source.etag, end - start)

    async def abort(self, upload: Upload) -> None:
        """See ``MultipartStore``."""
        self.seen.append("abort")
        await super().abort(upload)


async def versions(world: AppendWorld) -> list[ObjectInfo]:
    """What was ever committed."""
    return [version.info for version in world.objects.buckets[AT[0]].keys[AT[1]] if version is not None]


async def stored(world: AppendWorld) -> StoredObject:
    """What is there."""
    found = world.stored
    assert found is not None
    return found
