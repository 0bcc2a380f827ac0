"""One checkpoint that grows by appends, beside a table that is merged the naive way."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.footer import groups_of
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.strategy import Sizes
from services.merger.adapters.strategies import BySize
from services.merger.adapters.tables import greatest, sort_stable
from services.merger.core.append import Group
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import Prepared
from services.runtime.declarations import load_pipelines
from services.runtime.failures import ConflictError
from services.runtime.objects import StoredObject
from services.runtime.settings import PROJECT
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.multipart import FakeMultipart
from tests.fakes.objects import FakeObjects
from tests.property.append_checks import check_file

PIPELINE = load_pipelines(PROJECT / "pipelines")["visit_events"]
DESTINATION = Destination(bucket="checkpoints", key="events.parquet")
START = datetime(2026, 1, 1, tzinfo=UTC)
TINY = Sizes(target=8, most_groups=12, window_bytes=20_000, ending_bytes=3_000)
"""So small that a few merges re-pack, compact, stream, and look for the footer twice."""
PART_BYTES = 4_000
SMALLEST_PART = 900


class When(Enum):
    """Where new rows stand in time."""

    NEWER = "newer"
    LATE = "late"
    TIED = "tied with the last"
    SAME = "all the same, among the others"
    ANYWHERE = "anywhere, before the first as well"


@dataclass(frozen=True)
class Merge:
    """New rows to come; ``seed`` settles where exactly."""

    when: When
    rows: int
    seed: int


def ordered_by(column: str) -> Pipeline:
    """The pipeline, with its checkpoint in another order."""
    return PIPELINE.model_copy(update={"target": PIPELINE.target.model_copy(update={"order_by": column})})


@dataclass
class AppendWorld:
    """A store, a strategy, and what a reader must find."""

    pipeline: Pipeline = PIPELINE
    sizes: Sizes = TINY
    keeps_versions: bool = True
    append_from: int = 0
    commits: int = 0
    ways: list[str] = field(default_factory=list)
    history: list[pa.Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin without an object."""
        self.objects = FakeObjects({DESTINATION.bucket: self.keeps_versions})
        self.multipart = FakeMultipart(self.objects, smallest=SMALLEST_PART)
        self.layout = Layout.of(self.pipeline, self.sizes.target)
        self.expected = self.layout.schema.empty_table()
        self._serial = 0

    @property
    def stored(self) -> StoredObject | None:
        """What is there."""
        return self.objects.buckets[DESTINATION.bucket].current(DESTINATION.key)

    def strategy(self, effects: Effects | None = None, stores: Stores | None = None) -> BySize:
        """A process's own."""
        objects = self.objects.seen_by(effects or Effects())
        stores = stores or Stores(objects, self.multipart.seen_by(objects), SMALLEST_PART, PART_BYTES)
        return BySize(stores, append_from=self.append_from, sizes=self.sizes)

    def rows(self, merge: Merge) -> pa.Table:
        """New rows, in no order; each has a number of its own, by which ties are told apart."""
        random = Random(merge.seed)  # noqa: S311 - to be the same every time
        last = pc.max(self.expected.column("timestamp")).as_py() or START
        moments: dict[When, Callable[[], datetime]] = {
            When.NEWER: lambda: last + timedelta(seconds=random.randint(0, 5)),
            When.LATE: lambda: last - timedelta(seconds=random.randint(0, 40)),
            When.TIED: lambda: last,
            When.SAME: lambda: last - timedelta(seconds=10),
            When.ANYWHERE: lambda: START + timedelta(seconds=random.randint(-3, 60)),
        }
        found = []
        for _ in range(merge.rows):
            self._serial += 1
            found.append(self._row(moments[merge.when](), random))
        return pa.Table.from_pylist(found, schema=self.layout.schema)

    def _row(self, moment: datetime, random: Random) -> dict[str, object]:
        row: dict[str, object] = dict.fromkeys(self.layout.schema.names)
        days = (moment - START).total_seconds()
        return row | {
            "action": random.choice(["submit", "delete"]),
            "pipeline_adcid": int(days) % 1_000,
            "project_label": "alpha",
            "center_label": "beta",
            "gear_name": "gear",
            "ptid": random.choice(["ABC123", "DEF456"]),
            "visit_date": date(2026, 1, 1) + timedelta(days=int(days)),
            "visit_number": f"n{self._serial:06}",
            "datatype": "form",
            "timestamp": moment,
        }

    def naive(self, rows: pa.Table) -> pa.Table:
        """What there must be after these rows."""
        return sort_stable(pa.concat_tables([self.expected, rows]), self.pipeline.target.order_by)

    async def prepare(self, rows: pa.Table, strategy: BySize | None = None) -> tuple[Prepared, str]:
        """A merge that is not committed yet, and its commit id."""
        self.commits += 1
        commit_id = f"c{self.commits}"
        base = await self.objects.head(DESTINATION.bucket, DESTINATION.key)
        strategy = strategy or self.strategy()
        return await strategy.prepare(DESTINATION, self.pipeline, base, rows, commit_id), commit_id

    async def put(self, prepared: Prepared, commit_id: str, after: pa.Table) -> None:
        """Commit; ``after`` is what there must be then. Raises ConflictError if somebody else did."""
        info = await prepared.put({STAMP_COMMIT: commit_id})
        self.ways.append(prepared.strategy)
        self.settle(after)
        assert prepared.size == info.size == len(self.body)
        assert prepared.total_rows == after.num_rows
        assert (prepared.key_range, prepared.at_hand) == (None, None), "its rows have no keys of their own"
        assert prepared.max_cursor == greatest(after, self.pipeline.target.order_by)

    def settle(self, after: pa.Table) -> None:
        """A commit happened."""
        self.expected = after
        self.history.append(after)
        self.check()

    async def merge(self, rows: pa.Table) -> None:
        """Merge and look at everything a reader could see, and at what moved."""
        before = self.body if self.history else b""
        prepared, commit_id = await self.prepare(rows)
        await self.put(prepared, commit_id, self.naive(rows))
        if prepared.strategy == "append":
            self._check_what_moved(before, rows)

    async def merge_despite_death(self, rows: pa.Table, place: int) -> None:
        """A merge whose process may die at a place; who comes after it looks at the commit's id, and merges or not."""
        switch = KillSwitch(place)
        try:
            prepared, commit_id = await self.prepare(rows, self.strategy(Effects(switch)))
            await prepared.put({STAMP_COMMIT: commit_id})
        except KilledError:
            pass
        stored = self.stored
        if stored is not None and stored.info.metadata.get(STAMP_COMMIT) == f"c{self.commits}":
            self.settle(self.naive(rows))
        else:
            self.check()
            await self.merge(rows)

    async def race(self, first: pa.Table, second: pa.Table) -> None:
        """Two mergers prepare from the same object: one wins, and the other starts over."""
        left_by_the_dead = set(self.multipart.pending)
        one, two = await self.prepare(first), await self.prepare(second)
        await self.put(*one, self.naive(first))
        try:
            await two[0].put({STAMP_COMMIT: two[1]})
        except ConflictError:
            await self.merge(second)
        else:
            raise AssertionError("both mergers committed over the same object")
        assert set(self.multipart.pending) == left_by_the_dead, "the loser left its parts behind"

    async def restore(self, number: int) -> None:
        """Bring back what an earlier commit made."""
        versions = self.objects.buckets[DESTINATION.bucket].keys[DESTINATION.key]
        wanted = versions[number]
        assert wanted is not None
        self.commits += 1
        commit_id = f"c{self.commits}"
        base = await self.objects.head(DESTINATION.bucket, DESTINATION.key)
        prepared = await self.strategy().prepare_restored(
            DESTINATION, self.pipeline, base, wanted.info.version_id, commit_id
        )
        etags = {version.info.etag for version in versions if version is not None}
        await self.put(prepared, commit_id, sort_stable(self.history[number], self.pipeline.target.order_by))
        assert self.stored is not None
        assert self.stored.info.etag not in etags, "a sleeping merger could take it for what it knew"

    async def replace(self, rows: pa.Table, *, carries_metadata: bool) -> None:
        """Somebody else writes the object, in any order, with what our file said of itself or not."""
        said = pq.ParquetFile(io.BytesIO(self.body)).metadata.metadata if carries_metadata and self.history else {}
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, self.layout.schema) as writer:
            writer.add_key_value_metadata({key: said[key] for key in said if key != b"ARROW:schema"})
            writer.write_table(rows)
        await self.objects.put(DESTINATION.bucket, DESTINATION.key, sink.getvalue())
        self.expected = rows
        self.history.append(rows)

    @property
    def body(self) -> bytes:
        """The object's bytes."""
        assert self.stored is not None
        return self.stored.body

    def put_together(self) -> int:
        """How many objects were made of parts."""
        versions = self.objects.buckets[DESTINATION.bucket].keys[DESTINATION.key]
        return sum("-" in version.info.etag for version in versions if version is not None)

    def check(self) -> None:
        """A reader finds what the naive merge would have made, and it can be appended to."""
        if self.history:
            check_file(self.body, self.expected, self.layout)
        else:
            assert self.stored is None

    def groups(self, body: bytes) -> tuple[Group, ...]:
        """The groups of a file."""
        return groups_of(pq.ParquetFile(io.BytesIO(body)).metadata, self.layout)

    def _check_what_moved(self, before: bytes, rows: pa.Table) -> None:
        earliest = self.layout.least(rows)
        affected = sum(g.rows for g in self.groups(before) if earliest is not None and g.greatest > earliest)
        moved = sum(g.rows for g in self.groups(self.body) if self.body[: g.end] != before[: g.end])
        assert moved <= rows.num_rows + affected + 2 * self.sizes.target, f"{moved} rows moved"
        if not rows.num_rows:
            assert moved == 0
