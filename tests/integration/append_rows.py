"""Rows of a checkpoint that is large with few of them, and merges over a real S3 whose process may die anywhere."""

import io
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from random import Random
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Sizes
from services.merger.adapters.strategies import BySize
from services.merger.adapters.tables import schema_of
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import Prepared
from services.runtime.aws.clients import Clients
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.declarations import load_pipelines
from services.runtime.multipart import MultipartStore
from services.runtime.objects import ObjectInfo, ObjectStore
from services.runtime.settings import PROJECT
from tests.fakes.effects import KilledError, KillSwitch

PIPELINE = load_pipelines(PROJECT / "pipelines")["visit_events"]
SCHEMA = schema_of(PIPELINE.output_columns)
START = datetime(2026, 1, 1, tzinfo=UTC)
LABEL_BYTES = 512
"""Of each row; no two rows share any, so that they do not compress to less than half of their digits."""
SIZES = Sizes(target=2_000, most_groups=7)
"""Small groups, and few: some dozens of merges are enough for compactions."""

Order = list[tuple[datetime, int]]
"""Rows in the order of a file: their moments, and which of all the rows there ever were they are."""


def rows_at(moments: list[datetime], random: Random) -> pa.Table:
    """An event at each of these moments."""
    constants = {"action": "submit", "pipeline_adcid": 7, "ptid": "ABC123", "visit_date": date(2026, 1, 1)}
    columns: dict[str, list[Any]] = {name: [value] * len(moments) for name, value in constants.items()}
    columns["gear_name"] = [random.randbytes(LABEL_BYTES).hex() for _ in moments]
    columns["timestamp"] = moments
    return pa.table([columns.get(field.name, [None] * len(moments)) for field in SCHEMA], schema=SCHEMA)


def seconds(first: int, number: int) -> list[datetime]:
    """Moments a second apart."""
    return [START + timedelta(seconds=first + n) for n in range(number)]


class Mortal:
    """A store whose process may die before or after any request."""

    def __init__(self, store: object, switch: KillSwitch) -> None:
        self._store = store
        self._switch = switch

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The store's own operation, with a place to die on either side."""
        operation = getattr(self._store, name)

        async def call(*given: Any, **named: Any) -> Any:
            self._switch(f"before {name}")
            answer = await operation(*given, **named)
            self._switch(f"after {name}")
            return answer

        return call


class Checkpoint:
    """One checkpoint that is appended to, beside the table that naive merges make."""

    def __init__(self, clients: Clients, bucket: str, key: str = "checkpoints/events.parquet") -> None:
        self.objects, self.multipart = S3Objects(clients.s3), S3Multipart(clients.s3)
        self.at = Destination(bucket=bucket, key=key)
        self.expected: Order = []
        self.history: list[tuple[ObjectInfo, Order]] = []
        self.ways: list[str] = []
        self._ever = [SCHEMA.empty_table()]
        self._rows_ever = 0

    async def now(self) -> ObjectInfo | None:
        """What a HEAD says."""
        return await self.objects.head(self.at.bucket, self.at.key)

    def naive(self, rows: pa.Table) -> Order:
        """What there must be after these rows: old before new where they tie."""
        new = [(moment, self._rows_ever + n) for n, moment in enumerate(rows.column("timestamp").to_pylist())]
        self._ever.append(rows)
        self._rows_ever += rows.num_rows
        return sorted([*self.expected, *new], key=itemgetter(0))

    async def prepare(self, rows: pa.Table, commit_id: str, switch: KillSwitch | None = None) -> Prepared:
        """A merge that is not committed yet."""
        strategy = BySize(self._stores(switch or KillSwitch()), append_from=0, sizes=SIZES)
        return await strategy.prepare(self.at, PIPELINE, await self.now(), rows, commit_id)

    async def put(self, prepared: Prepared, commit_id: str, after: Order) -> None:
        """Commit; raises ConflictError if somebody else did."""
        self.settle(await prepared.put({STAMP_COMMIT: commit_id}), after, prepared.strategy)

    async def merge(self, rows: pa.Table, commit_id: str) -> None:
        """Prepare and commit."""
        await self.put(await self.prepare(rows, commit_id), commit_id, self.naive(rows))

    async def merge_despite_death(self, rows: pa.Table, commit_id: str, place: int) -> None:
        """A merge whose process may die; its successor looks at the commit's id, and merges or not."""
        try:
            prepared = await self.prepare(rows, commit_id, KillSwitch(place))
            await prepared.put({STAMP_COMMIT: commit_id})
        except KilledError:
            pass
        info = await self.now()
        if info is not None and info.metadata.get(STAMP_COMMIT) == commit_id:
            self.settle(info, self.naive(rows), "found")
        else:
            await self.merge(rows, commit_id)

    async def restore(self, number: int, commit_id: str) -> None:
        """Bring an earlier version back."""
        info, rows = self.history[number]
        strategy = BySize(self._stores(KillSwitch()), append_from=0, sizes=SIZES)
        prepared = await strategy.prepare_restored(self.at, PIPELINE, await self.now(), info.version_id, commit_id)
        await self.put(prepared, commit_id, rows)

    def settle(self, info: ObjectInfo, after: Order, way: str) -> None:
        """A commit happened."""
        self.expected = after
        self.history.append((info, after))
        self.ways.append(way)

    async def check(self) -> None:
        """A reader finds, row for row, what naive merges would have made."""
        body = (await self.objects.get(self.at.bucket, self.at.key)).body
        expected = pa.concat_tables(self._ever).take(pa.array([number for _, number in self.expected], pa.int64()))
        assert pq.ParquetFile(io.BytesIO(body)).read().equals(expected)

    def _stores(self, switch: KillSwitch) -> Stores:
        objects = cast("ObjectStore", Mortal(self.objects, switch))
        return Stores(objects, cast("MultipartStore", Mortal(self.multipart, switch)))
