"""One deployment that fetches slices of an entity: typed rows from anywhere, a raw bucket, a ledger, a spool folder."""

import io
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from pydantic import SecretStr

from contracts.envelope import Message
from contracts.fields import EntityField
from contracts.loads import FetchSlice, Landing, Slice
from contracts.pipelines import Pipeline
from contracts.runs import LoadType, RunMode, RunState
from services.fetcher.adapters.landing_objects import S3LandingObjects
from services.fetcher.adapters.postgres import PostgresRows
from services.fetcher.adapters.raw import S3RawObjects
from services.fetcher.core.landing import schema_of
from services.fetcher.ports import Landing as LandingPorts
from services.fetcher.ports import Ports, Records, TypedRows
from services.fetcher.use_case import fetch_batch
from services.runtime.completion import Completion
from services.runtime.datasets import Block
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.landing import read_trailer
from services.runtime.ledger import Run, ScanCounts, SegmentEntry
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import StoredObject
from services.runtime.postgres.access import PostgresAccess
from tests.fakes.clock import ManualClock
from tests.fakes.datasets import FakeDatasets
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks

NAME, RAW, RUN_ID, RUN_DATE = "shop.orders", "raw", "run-1", "2025-02-21"
START, END = "1970-01-01 00:00:00", "2027-01-01T00:00:00.000000"
FIELDS = {"order_id": "int64", "note": "string", "ordered_on": "date", "updated_at": "timestamp_us_utc"}


def entity(**source: Any) -> Pipeline:
    """The pipeline of an entity in PostgreSQL, or of another source."""
    declared = {
        "kind": "postgres",
        "system": "rds",
        "secret": "shop",
        "table": "orders",
        "key": ["order_id"],
        "cursor": "updated_at",
        "event_date": "ordered_on",
    }
    document = {
        "name": NAME,
        "entity": "orders",
        "source": {name: value for name, value in (declared | source).items() if value is not None},
        "target": {"kind": "bronze", "prefix": "data/bronze/", "logs": "logs/"},
    }
    return Pipeline.parse(document, where="test")


API = {
    "kind": "rest",
    "table": None,
    "secret": None,
    "system": "api",
    "url": "http://127.0.0.1",
    "path": "/orders",
    "fields": FIELDS,
}


def fields_of(types: Mapping[str, str]) -> list[EntityField]:
    """Fields of these types."""
    return [EntityField(name=name, type=type_) for name, type_ in types.items()]


def command(
    types: Mapping[str, str] = FIELDS,
    *,
    segment_id: str = "s1",
    load_type: LoadType = LoadType.FULL,
    expected: int = 0,
    **bounds: Any,
) -> FetchSlice:
    """A command for all rows, or for those within bounds."""
    return FetchSlice(
        pipeline=NAME,
        run_id=RUN_ID,
        segment_id=segment_id,
        run_date=RUN_DATE,
        load_type=load_type,
        fields=fields_of(types),
        slice=Slice(**{"start": START, "end": END} | bounds),
        expected_rows=expected,
    )


def batch(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str] = FIELDS) -> pa.RecordBatch:
    """Rows as a source would hand them out; what a row lacks is null."""
    schema = schema_of(fields_of(types))
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def postgres_rows(secret: str, *more: str) -> PostgresRows:
    """The adapter with small batches; each time the secret is read it is the next one of these."""
    return PostgresRows(PostgresAccess(RotatedSecrets(secret, *more)), batch_bytes=64 * 1024)


class RotatedSecrets:
    """``Secrets`` whose one secret is replaced while the old one is still in the cache."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.reads: list[bool] = []

    async def read(self, reference: str, *, fresh: bool = False) -> SecretStr:
        """See the port."""
        assert reference == "shop"
        self.reads.append(fresh)
        if fresh and len(self.values) > 1:
            del self.values[0]
        return SecretStr(self.values[0])


class FakeRows:
    """``TypedRows`` of given batches; an exception among them is raised in its place."""

    def __init__(self, *batches: pa.RecordBatch | Exception) -> None:
        self.batches = batches
        self.reads = self.closed = 0

    async def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[pa.RecordBatch]:
        """See the port."""
        assert pipeline.name == command.pipeline
        self.reads += 1
        try:
            for each in self.batches:
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.closed += 1


class FakeRecords:
    """``Records`` of given blocks."""

    def __init__(self, *blocks: Block | Exception) -> None:
        self.blocks = blocks

    async def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[Block]:
        """See the port."""
        assert pipeline.name == command.pipeline
        for each in self.blocks:
            if isinstance(each, Exception):
                raise each
            yield each


def read_landing(body: bytes) -> tuple[Landing, list[pa.Table]]:
    """The trailer of a landing file, and its chunks."""
    landing = read_trailer(body, "file")
    tables = []
    for chunk in landing.chunks:
        with pa.ipc.open_stream(io.BytesIO(body[chunk.offset : chunk.offset + chunk.length])) as stream:
            tables.append(stream.read_all())
    assert [table.num_rows for table in tables] == [chunk.rows for chunk in landing.chunks]
    return landing, tables


class SliceWorld:
    """What processes share."""

    def __init__(
        self,
        spool: Path,
        rows: TypedRows | None = None,
        *,
        pipeline: Pipeline | None = None,
        records: Records | None = None,
    ) -> None:
        self.pipeline = pipeline or entity()
        self.rows = rows or FakeRows()
        self.records = records or FakeRecords()
        self.spool = spool
        self.clock = ManualClock()
        self.objects = FakeObjects({RAW: True}, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.telemetry = FakeTelemetry()

    async def begin(self, state: RunState = RunState.RUNNING, *segments: str) -> None:
        """Open the run, as far as this state."""
        await self.ledger.open_run(
            Run(RUN_ID, NAME, RunMode.INCREMENTAL, RunState.PLANNING, self.clock.now().isoformat())
        )
        await self.ledger.plan_segments(RUN_ID, [(segment, 0) for segment in segments or ("s1",)])
        await self.ledger.start_run(RUN_ID, planned=len(segments) or 1, scan=ScanCounts(), frontier=END)
        if state is not RunState.RUNNING:
            await self.ledger.finish_run(RUN_ID, state, reason="because" if state is RunState.FAILED else None)

    def ports(self, effects: Effects | None = None) -> Ports:
        """What one process works with."""
        own = effects or Effects()
        ledger, objects = self.ledger.seen_by(own), self.objects.seen_by(own)
        mirrors = StateMirrors(objects, self.clock)
        return Ports(
            pipelines={NAME: self.pipeline},
            raw_bucket=RAW,
            datasets=FakeDatasets({}),
            raw=S3RawObjects(objects),
            ledger=ledger,
            completion=Completion(ledger, FakeWatermarks(self.clock), self.publisher.seen_by(own), mirrors),
            telemetry=self.telemetry,
            clock=self.clock,
            landing=LandingPorts({"postgres": self.rows}, self.records, S3LandingObjects(objects), self.spool),
        )

    async def fetch(self, *commands: FetchSlice, receives: int = 1, effects: Effects | None = None) -> Outcome:
        """Handle a batch of commands."""
        deliveries = [
            Delivery(
                each.segment_id,
                Message.wrap(
                    each, message_id=UUID(int=1), run_id=each.run_id, occurred_at=self.clock.now()
                ).model_dump_json(),
                receives,
            )
            for each in commands or (command(),)
        ]
        return await fetch_batch(self.ports(effects), deliveries)

    def stored(self, segment_id: str = "s1", suffix: str = "land") -> StoredObject | None:
        """The raw object of a segment, which must never have been replaced."""
        key = f"raw/2025/02/21/{NAME}/{RUN_ID}/{segment_id}.{suffix}"
        versions = self.objects.buckets[RAW].keys.get(key, [])
        assert len(versions) <= 1
        return versions[0] if versions else None

    def landed(self, segment_id: str = "s1") -> tuple[Landing, pa.Table]:
        """The landing file of a segment, all chunks together."""
        found = self.stored(segment_id)
        assert found is not None
        landing, tables = read_landing(found.body)
        assert found.info.metadata == {"tidegate-rows": str(landing.rows)}
        return landing, pa.concat_tables(tables) if tables else schema_of(landing.fields).empty_table()

    def left_over(self) -> list[Path]:
        """Files that are still in the spool folder."""
        return list(self.spool.iterdir())

    async def entry(self, segment_id: str = "s1") -> SegmentEntry:
        """What the ledger has of a segment."""
        found = await self.ledger.segment(RUN_ID, segment_id)
        assert found is not None
        return found

    async def run(self) -> Run:
        """The run."""
        found = await self.ledger.run(RUN_ID)
        assert found is not None
        return found
