"""Appending to partition files, whose rows have keys: what is known of these without reading what stays."""

import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.layout import LAYOUT_KEY
from services.merger.adapters.append.strategy import Sizes
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.strategies import BySize
from services.merger.adapters.tables import schema_of
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import MergeStrategy, Prepared
from services.runtime.declarations import load_pipelines
from services.runtime.objects import ObjectInfo
from services.runtime.settings import PROJECT
from tests.fakes.multipart import FakeMultipart
from tests.fakes.objects import FakeObjects

PIPELINE = load_pipelines(PROJECT / "pipelines")["nyc_311"]
SCHEMA = schema_of(PIPELINE.output_columns)
AT = Destination(bucket="processed", key="processed/year=2026/month=01/data_2026-01-09.parquet")
START = datetime(2026, 1, 1)  # noqa: DTZ001 - the source's timestamps have no zone


def requests(numbers: range, *, seed: int = 0, key: str = "{:08}") -> pa.Table:
    """Requests a second apart, each second one of those before; every kind of column has values and gaps."""
    random = Random(seed)  # noqa: S311 - to be the same every time

    def value(column: pa.Field, number: int) -> object:
        kind = column.type
        if column.name == "unique_key":
            return key.format(number)
        if column.name == "created_date":
            return START + timedelta(seconds=number - number % 2)
        if random.random() < 0.3:
            return None
        if pa.types.is_timestamp(kind):
            return START + timedelta(hours=random.randint(0, 99))
        if pa.types.is_struct(kind):
            return {"latitude": random.choice([None, random.random()]), "longitude": random.random()}
        return {"string": f"{column.name} {random.randint(0, 9)}", "int64": number, "double": number / 7}[str(kind)]

    rows = [{column.name: value(column, number) for column in SCHEMA} for number in numbers]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@dataclass
class PartitionFile:
    """One file, merged one way."""

    appends: bool
    append_from: int = 0
    pipeline: Pipeline = PIPELINE
    commits: int = 0
    infos: list[ObjectInfo] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without an object."""
        self.objects = FakeObjects({AT.bucket: True})
        stores = Stores(self.objects, FakeMultipart(self.objects, smallest=900), 900, 9_000)
        sizes = Sizes(target=16, most_groups=12, window_bytes=100_000, ending_bytes=30_000)
        self.strategy: MergeStrategy = Rewrite(self.objects)
        if self.appends:
            self.strategy = BySize(stores, append_from=self.append_from, sizes=sizes)

    async def merge(self, rows: pa.Table) -> Prepared:
        """Merge and put."""
        self.commits += 1
        base = await self.objects.head(AT.bucket, AT.key)
        return await self.put(await self.strategy.prepare(AT, self.pipeline, base, rows, f"c{self.commits}"))

    async def restore(self, earlier: ObjectInfo) -> Prepared:
        """Bring a version back."""
        self.commits += 1
        base = await self.objects.head(AT.bucket, AT.key)
        version = earlier.version_id
        return await self.put(
            await self.strategy.prepare_restored(AT, self.pipeline, base, version, f"c{self.commits}")
        )

    async def put(self, prepared: Prepared) -> Prepared:
        """Commit."""
        self.infos.append(await prepared.put({STAMP_COMMIT: f"c{self.commits}"}))
        return prepared

    async def body(self) -> bytes:
        """What is there."""
        return (await self.objects.get(AT.bucket, AT.key)).body


async def test_wide_rows_are_what_the_rewrite_makes_of_them() -> None:
    """Texts, times, numbers and points, with gaps: appended, moved, compacted, in the order that rewriting has."""
    appended, rewritten = PartitionFile(appends=True), PartitionFile(appends=False)
    places = [(0, 30), (40, 1), (80, 9), (81, 3), (90, 22), (20, 8), (130, 1), (200, 40), (199, 2), (10, 5)]
    ways = set()
    for step, (first, number) in enumerate(places + [(240 + 20 * i, 17) for i in range(8)]):
        rows = requests(range(first, first + number), seed=step, key=f"{{:08}}-{step}")
        one, other = await appended.merge(rows), await rewritten.merge(rows)
        ways.add(one.strategy)
        found = pq.read_table(io.BytesIO(await appended.body()))
        assert found.equals(pq.read_table(io.BytesIO(await rewritten.body())).cast(SCHEMA))
        assert (one.key_range, one.total_rows, one.max_cursor) == (
            other.key_range,
            other.total_rows,
            other.max_cursor,
        )
        assert one.key_range is not None
    assert ways == {"append-laid-out", "append", "append-compacted"}


async def test_what_is_at_hand_is_the_end_of_the_object() -> None:
    """The bytes at hand are those that were put, and what was copied is said to be."""
    file = PartitionFile(appends=True)
    first = await file.merge(requests(range(100)))
    before = await file.body()
    second = await file.merge(requests(range(100, 103)))
    after = await file.body()
    assert first.at_hand is not None
    assert (first.at_hand.start, first.at_hand.body, first.at_hand.copied) == (0, before, 0)
    assert second.at_hand is not None
    assert second.at_hand.body == after[second.at_hand.start :]
    assert second.at_hand.copied == second.at_hand.start > 0
    assert second.at_hand.copied_from == file.infos[0].etag


async def test_a_restored_version_has_its_own_range() -> None:
    """The range of a version that is brought back is that of its rows, and what was copied was not the newest."""
    file = PartitionFile(appends=True)
    await file.merge(requests(range(100)))
    await file.merge(requests(range(100, 103)))
    prepared = await file.restore(file.infos[0])
    assert prepared.key_range == ("00000000", "00000099")
    assert prepared.at_hand is not None
    assert prepared.at_hand.copied_from == file.infos[0].etag
    assert len({info.etag for info in file.infos}) == 3


async def test_no_rows_have_no_range() -> None:
    """A commit of nothing makes an object of its own, with no range where there are no rows."""
    file = PartitionFile(appends=True)
    none = requests(range(0))
    assert (await file.merge(none)).key_range is None
    assert (await file.merge(none)).key_range is None
    assert (await file.merge(requests(range(3)))).key_range == ("00000000", "00000002")
    assert (await file.merge(none)).key_range == ("00000000", "00000002")
    assert len({info.etag for info in file.infos}) == 4


async def test_a_range_that_statistics_do_not_say() -> None:
    """Of keys longer than 4 KiB there are no statistics: where they stay unread, their range is not known."""
    file = PartitionFile(appends=True)
    long = "k" * 5_000
    known = await file.merge(requests(range(100), key=long + "{:08}"))
    assert known.key_range == (f"{long}00000000", f"{long}00000099")
    assert (await file.merge(requests(range(100, 103)))).key_range is None


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(20, ["rewrite"] * 3, id="small"),
        pytest.param(400, ["rewrite", "append-laid-out", "append"], id="large"),
    ],
)
async def test_small_files_are_rewritten_and_large_ones_appended_to(rows: int, expected: list[str]) -> None:
    """Below the limit a rewrite is two requests; above it a file is laid out once."""
    file = PartitionFile(appends=True, append_from=35_000)
    merges = [range(rows), range(rows, rows + 5), range(rows + 5, rows + 9)]
    assert [(await file.merge(requests(numbers))).strategy for numbers in merges] == expected
    assert (LAYOUT_KEY in pq.read_metadata(io.BytesIO(await file.body())).metadata) == (rows == 400)
