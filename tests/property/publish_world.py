"""A merger over the loads of one entity: segments in, parts of bronze out, and processes that die or sleep."""

import asyncio
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, BinaryIO
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.envelope import Message, Payload
from contracts.fields import EntityField
from contracts.loads import DayRows, LandedSegment, Landing, LoadManifest
from contracts.pipelines import Pipeline
from contracts.runs import LoadType, RunMode, RunState
from contracts.segments import MergeSegment, SegmentCounts
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.adapters.types import schema_of
from services.merger.core.loads import least
from services.merger.ports import Ports
from services.merger.use_case.batch import merge_batch
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.landing import LandingWriter
from services.runtime.leases import Lease
from services.runtime.ledger import Collection, Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.table_world import Mortal

TTL_S = 60.0
PARTS_QUEUE = "write-parts"
FIELDS = [
    EntityField(name="order_id", type="int64"),
    EntityField(name="note", type="string"),
    EntityField(name="ordered_on", type="date"),
    EntityField(name="updated_at", type="timestamp_us_utc"),
]
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS: Sequence[date | None] = (date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3), None)


def entity(*, part_bytes: int = 128 * 1024 * 1024, kind: str = "postgres") -> Pipeline:
    """The declaration of the orders, with parts of this size."""
    source: dict[str, Any] = {
        "kind": kind,
        "system": "rds",
        "key": ["order_id"],
        "cursor": "updated_at",
        "event_date": "ordered_on",
    }
    if kind == "rest":
        source |= {"url": "http://shop", "path": "/orders", "fields": {each.name: each.type for each in FIELDS}}
    else:
        source |= {"secret": "s", "table": "orders"}
    document = {
        "name": "shop.orders",
        "entity": "orders",
        "source": source,
        "target": {"kind": "bronze", "part_bytes": part_bytes},
    }
    return Pipeline.parse(document, where="shop.toml")


@dataclass(frozen=True, order=True)
class Order:
    """One version of a record: ``at`` is its cursor, in minutes; ``day`` is one of DAYS."""

    order_id: int
    at: int = 0
    day: int = 0
    note: str | None = None

    @property
    def row(self) -> dict[str, object]:
        """The record as its source has it."""
        return {
            "order_id": self.order_id,
            "note": self.note,
            "ordered_on": DAYS[self.day],
            "updated_at": START + timedelta(minutes=self.at),
        }


def cursor(at: int) -> str:
    """A cursor as text."""
    return (START + timedelta(minutes=at)).replace(tzinfo=None).isoformat(timespec="microseconds")


def version_of(row: Mapping[str, object]) -> Order:
    """The version that a row of bronze is."""
    at = row["updated_at"]
    assert isinstance(at, datetime)
    day, order_id, note = row["ordered_on"], row["order_id"], row["note"]
    assert isinstance(order_id, int)
    assert note is None or isinstance(note, str)
    assert day is None or isinstance(day, date)
    return Order(order_id, int((at - START).total_seconds() // 60), DAYS.index(day), note)


@dataclass
class Load:
    """What a test knows of a load that it made."""

    run_id: str
    load_type: LoadType
    segments: dict[str, list[Order]]
    keys: list[str] = field(default_factory=list)


class SleepyObjects(FakeObjects):
    """A store before whose n-th put the process falls asleep until it is let go."""

    def __init__(self, objects: FakeObjects, effects: Effects, sleep_at: int) -> None:
        super().__init__({}, effects=effects)
        self.buckets, self.puts = objects.buckets, objects.puts
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()
        self._left = sleep_at

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """See ``ObjectStore``."""
        self._left -= 1
        if self._left == 0:
            self.asleep.set()
            await self.awake.wait()
        return await super().put(bucket, key, body, if_match=if_match, metadata=metadata, content_type=content_type)


class FreeLeases(FakeLeases):
    """Leases that everybody gets at any time: what is correct must not depend on them."""

    async def acquire(self, resource: str, owner: str, ttl_s: float) -> Lease:
        """Grant it, whoever has it."""
        return await super().acquire(f"{resource}/{uuid4().hex}", owner, ttl_s)


class PublishWorld:
    """One deployment's merger and what it works on. Nothing moves but by a method."""

    def __init__(self, pipeline: Pipeline | None = None, *, leases: bool = True, chunk_rows: int = 4) -> None:
        self.pipeline = pipeline or entity()
        self.clock = ManualClock()
        buckets = {"raw": True, "validated": False, "processed": True, "state": False}
        self.objects = FakeObjects(buckets, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.checkpoints = FakeCheckpoints()
        self.leases: LeaseTable | None = LeaseTable() if leases else None
        self.publisher = FakePublisher(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.loads: list[Load] = []
        self.handed_out = 0
        self._chunk_rows = chunk_rows

    async def open(self, run_id: str, load_type: LoadType, segments: Sequence[Sequence[Order]]) -> Load:
        """A load whose segments are all validated, though nobody told the merger yet."""
        load = Load(run_id, load_type, {f"s{n}": list(rows) for n, rows in enumerate(segments)})
        mode = RunMode(load_type.value)
        await self.ledger.open_run(
            Run(run_id, self.pipeline.name, mode, RunState.PLANNING, self.clock.now().isoformat())
        )
        await self.ledger.plan_segments(run_id, [(name, 0) for name in load.segments])
        end = cursor(10**6 + len(self.loads))
        covered = Collection(start="", end=end, mirror="processed/logs/checkpoints.json", entity="orders")
        standing = await self.watermarks.read(self.pipeline.watermark)
        await self.ledger.start_run(
            run_id,
            planned=len(segments),
            scan=ScanCounts(),
            frontier=None if load_type is LoadType.KEYS else end,
            watermark_version=standing.version if standing else 0,
            collection=covered,
        )
        for name, rows in load.segments.items():
            load.keys.append(await self.land(load, name, rows))
        self.loads.append(load)
        return load

    async def land(self, load: Load, segment_id: str, rows: Sequence[Order]) -> str:
        """Write a segment's landing file and what the validator says of it; returns the key of the latter."""
        fields = FIELDS[:1] if load.load_type is LoadType.KEYS else FIELDS
        ordered = sorted(rows, key=lambda row: row.day)
        if load.load_type is LoadType.KEYS:
            ordered = [replace(row, day=len(DAYS) - 1) for row in ordered]
        file = io.BytesIO()
        writer = LandingWriter(file)
        for start in range(0, len(ordered), self._chunk_rows):
            own = ordered[start : start + self._chunk_rows]
            sink = io.BytesIO()
            table = pa.Table.from_pylist([row.row for row in own]).select([f.name for f in fields])
            with pa.ipc.new_stream(sink, schema_of(fields)) as stream:
                stream.write_table(table.cast(schema_of(fields)))
            days = [(day, len(list(group))) for day, group in groupby(row.day for row in own)]
            dated = [(DAYS[number], count) for number, count in days]
            writer.add(sink.getvalue(), [DayRows(date=day and day.isoformat(), rows=count) for day, count in dated])
        about: dict[str, Any] = {
            "pipeline": self.pipeline.name,
            "run_id": load.run_id,
            "segment_id": segment_id,
            "load_type": load.load_type,
            "fields": fields,
            "chunks": writer.chunks,
        }
        writer.seal(Landing(rows=writer.rows, **about))
        name = f"{self.pipeline.name}/{load.run_id}/{segment_id}"
        info = await self.objects.put("raw", f"raw/{name}.land", file.getvalue())
        await self.ledger.segment_fetched(load.run_id, segment_id, len(rows), f"raw/{info.key}")
        cursors = [cursor(row.at) for row in rows if load.load_type is not LoadType.KEYS]
        landed = LandedSegment(
            run_date="2026-03-01",
            bucket="raw",
            key=info.key,
            version_id=info.version_id,
            etag=info.etag,
            counts=SegmentCounts(received=len(rows), rows=len(rows)),
            least_cursor=least(cursors),
            greatest_cursor=max(cursors, default=None),
            **about,
        )
        await self.objects.put("validated", f"{name}.json", landed.model_dump_json().encode())
        return f"{name}.json"

    def ports(self, effects: Effects | None = None, objects: FakeObjects | None = None) -> Ports:
        """The merger as one process sees it."""
        effects = effects or Effects()
        objects = objects or self.objects.seen_by(effects)
        ledger, publisher = self.ledger.seen_by(effects), self.publisher.seen_by(effects)
        checkpoints = self.checkpoints.seen_by(effects)
        leases = FreeLeases(self.clock)
        return Ports(
            pipelines={self.pipeline.name: self.pipeline},
            segments=ParquetSegmentReader(objects),
            strategy=Rewrite(objects),
            keys=S3TableKeys(objects, checkpoints),
            manifests=S3Manifests(objects, "state"),
            loads=S3Loads(objects, "state"),
            parts=S3Parts(objects),
            processed_bucket="processed",
            objects=objects,
            checkpoints=checkpoints,
            occurrences=FakeOccurrences().seen_by(effects),
            leases=leases if self.leases is None else FakeLeases(self.clock, self.leases, Mortal(effects)),
            ledger=ledger,
            watermarks=self.watermarks,
            publisher=publisher,
            completion=Completion(ledger, self.watermarks, publisher, StateMirrors(objects, self.clock)),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            owner=f"merger-{uuid4().hex}",
            lease_ttl_s=TTL_S,
        )

    def body(self, payload: Payload) -> str:
        """A command as the queue carries it."""
        message = Message.wrap(payload, message_id=uuid4(), run_id="r", occurred_at=self.clock.now())
        return message.model_dump_json()

    def arrivals(self, load: Load) -> list[str]:
        """One delivery for each of a load's segments."""
        return [self.body(MergeSegment(bucket="validated", key=key)) for key in load.keys]

    def pending(self) -> list[str]:
        """Groups that were handed out since the last call."""
        found = self.publisher.sent[PARTS_QUEUE][self.handed_out :]
        self.handed_out += len(found)
        return found

    async def deliver(self, bodies: Sequence[str], ports: Ports | None = None) -> Outcome:
        """One process handles these in one batch."""
        return await merge_batch(ports or self.ports(), [Delivery(id=str(n), body=b) for n, b in enumerate(bodies)])

    async def deliver_for_good(self, bodies: Sequence[str]) -> None:
        """Deliver again until nothing comes back and nothing is handed out, as the queue does."""
        for _ in range(12):
            outcome = await self.deliver(bodies)
            bodies = [bodies[int(n)] for n in sorted(outcome.failed)] + self.pending()
            if not bodies:
                return
            self.clock.advance(TTL_S)
        raise AssertionError(f"still not published: {outcome.reasons}")

    def lose_tables(self) -> None:
        """Everything in DynamoDB is gone; what is in S3 stays."""
        self.ledger = FakeLedger(self.clock)
        self.checkpoints = FakeCheckpoints()
        self.leases = None if self.leases is None else LeaseTable()

    def parts(self) -> dict[str, pa.Table]:
        """Every part of bronze by key."""
        held = self.objects.buckets["processed"].keys
        return {
            key: pq.ParquetFile(io.BytesIO(versions[-1].body)).read()
            for key, versions in held.items()
            if key.startswith("data/bronze/") and versions[-1] is not None
        }

    def rows(self, load: Load) -> Counter[Order]:
        """Versions that a run's parts hold."""
        stamps = {
            key: versions[-1].info.metadata["tidegate-run"]
            for key, versions in self.objects.buckets["processed"].keys.items()
            if key.startswith("data/bronze/") and versions[-1] is not None
        }
        tables = [table for key, table in self.parts().items() if stamps[key] == load.run_id]
        return Counter(version_of(row) for table in tables for row in table.to_pylist())

    def assert_exact(self) -> None:
        """Each version is in its generation once, in the part of its event date, and nothing else is."""
        seen: Counter[Order] = Counter()
        for load in self.published():
            sent = Counter({row: 1 for rows in load.segments.values() for row in rows})
            if load.load_type is LoadType.KEYS:
                continue
            if load.load_type is LoadType.FULL:
                seen = Counter()
            mine = self.rows(load)
            assert mine == sent - seen, (load.run_id, mine, sent - seen)
            seen += mine
        self.assert_stable()
        for key, table in self.parts().items():
            days = {str(row["ordered_on"]) for row in table.to_pylist() if "ordered_on" in row}
            folder = key.split("event_date=")[1].split("/")[0]
            assert days <= {"None" if folder.startswith("__") else folder}

    def published(self) -> list[Load]:
        """Loads in the order of their versions; each is there once."""
        by_run = {load.run_id: load for load in self.loads}
        held = self.objects.buckets["state"].keys
        bodies = [held[name][-1] for name in sorted(held) if name.endswith("/manifest.json")]
        manifests = [LoadManifest.model_validate_json(body.body) for body in bodies if body is not None]
        runs = [manifest.run_id for manifest in manifests]
        assert len(set(runs)) == len(runs), f"a run was published twice: {runs}"
        assert [manifest.version for manifest in manifests] == list(range(1, len(runs) + 1))
        keys = [part.key for manifest in manifests for group in manifest.groups for part in group.parts]
        assert len(set(keys)) == len(keys), "two loads were given one part"
        return [by_run[run] for run in runs]

    def assert_stable(self) -> None:
        """Whatever was written again was the same: no reader ever saw a part change."""
        for key, versions in self.objects.buckets["processed"].keys.items():
            if key.startswith("data/bronze/"):
                assert len({version.body for version in versions if version is not None}) == 1, key

    async def assert_balanced(self, load: Load) -> None:
        """The run has succeeded, which it only does when its ledger adds up."""
        run = await self.ledger.run(load.run_id)
        assert run is not None
        table = conserve(run, await self.ledger.segments(load.run_id))
        assert (table.problems, table.pending_segments) == ((), 0)
        assert run.state is RunState.SUCCEEDED
