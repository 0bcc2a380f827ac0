"""A merger over a table of partition files: segments in, files out, and processes that die or sleep in between."""

import asyncio
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import BinaryIO, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.envelope import Message
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import DESCRIPTOR_KEY, Destination, MergeSegment, SegmentCounts, SegmentDescriptor, Verdict
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports
from services.merger.use_case.batch import merge_batch
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Collection, Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.network import ScriptedNetwork
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks

PIPELINE = Pipeline.parse(
    {
        "name": "requests",
        "entity": "requests",
        "columns": {
            "key": {"type": "string", "required": True},
            "created": {"type": "timestamp_us", "required": True},
            "said_by": {"type": "string"},
        },
        "source": {"kind": "socrata", "dataset": "abcd-1234", "cursor": "created", "unique_key": "key"},
        "target": {
            "kind": "partitions",
            "key": "processed/month={created:%m}/data_{run_date}.parquet",
            "order_by": "created",
        },
    },
    where="requests.toml",
)
START = datetime(2026, 1, 1)  # noqa: DTZ001 - the source's timestamps have no zone
SCHEMA = pa.schema([("key", pa.string()), ("created", pa.timestamp("us")), ("said_by", pa.string())])
TTL_S = 60.0
T = TypeVar("T")


class Mortal(ScriptedNetwork):
    """The way to the leases, which a dead process cannot go any more."""

    def __init__(self, effects: Effects) -> None:
        super().__init__()
        self._effects = effects

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See ``Network``; dying here is dying at an effect."""
        self._effects.reach("before lease")
        answer = await super().carry(effect)
        self._effects.reach("after lease")
        return answer


class SleepyObjects(FakeObjects):
    """A store whose puts into the table wait until they are let go."""

    def __init__(self, objects: FakeObjects, effects: Effects) -> None:
        super().__init__({}, effects=effects)
        self.buckets, self.puts = objects.buckets, objects.puts
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()

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
        if bucket == "processed":
            self.asleep.set()
            await self.awake.wait()
        return await super().put(bucket, key, body, if_match=if_match, metadata=metadata, content_type=content_type)


class TableWorld:
    """One deployment's merger. Nothing moves but by a method."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        buckets = {"validated": False, "processed": True, "state": False}
        self.objects = FakeObjects(buckets, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.checkpoints = FakeCheckpoints()
        self.occurrences = FakeOccurrences()
        self.leases = LeaseTable()
        self.publisher = FakePublisher(self.clock)
        self.expected: dict[str, str] = {}

    async def open_run(self, run_id: str, segments: int) -> None:
        """A run that is dispatched already."""
        run = Run(run_id, PIPELINE.name, RunMode.INCREMENTAL, RunState.PLANNING, self.clock.now().isoformat())
        await self.ledger.open_run(run)
        covered = Collection(start="", end="")
        await self.ledger.start_run(run_id, planned=segments, scan=ScanCounts(), frontier=None, collection=covered)

    async def segment(
        self, run_id: str, segment_id: str, month: int, keys: Sequence[str], *, bad: int = 0, day: str = "2026-03-01"
    ) -> str:
        """A validated segment: rows of one month, and so many quarantined ones. Returns its key."""
        created = [START.replace(month=month) + timedelta(seconds=i) for i in range(len(keys))]
        rows = pa.table([list(keys), created, [f"{run_id}/{segment_id}"] * len(keys)], schema=SCHEMA)
        descriptor = SegmentDescriptor(
            segment_id=segment_id,
            pipeline=PIPELINE.name,
            scope=PIPELINE.name,
            run_id=run_id,
            destination=Destination(bucket="processed", key=f"processed/month={month:02}/data_{day}.parquet"),
            counts=SegmentCounts(received=len(keys) + bad, rows=len(keys), quarantined=bad),
            verdicts=[Verdict(occurrence=f"bad-{n}", disposition="quarantined") for n in range(bad)],
        )
        sink = io.BytesIO()
        pq.write_table(rows.replace_schema_metadata({DESCRIPTOR_KEY: descriptor.model_dump_json()}), sink)
        key = f"requests/{run_id}/{segment_id}.parquet"
        await self.objects.put("validated", key, sink.getvalue())
        await self.ledger.plan_segments(run_id, [(segment_id, 0)])
        await self.ledger.segment_fetched(run_id, segment_id, len(keys) + bad, "raw/x")
        for each in keys:
            self.expected.setdefault(each, "")
        return key

    def ports(self, effects: Effects, objects: FakeObjects | None = None) -> Ports:
        """The merger as one process sees it."""
        objects = objects or self.objects.seen_by(effects)
        ledger, publisher = self.ledger.seen_by(effects), self.publisher.seen_by(effects)
        checkpoints = self.checkpoints.seen_by(effects)
        watermarks = FakeWatermarks(self.clock)
        return Ports(
            pipelines={PIPELINE.name: PIPELINE},
            segments=ParquetSegmentReader(objects),
            strategy=Rewrite(objects),
            keys=S3TableKeys(objects, checkpoints),
            manifests=S3Manifests(objects, "state"),
            loads=S3Loads(objects, "state"),
            parts=S3Parts(objects),
            processed_bucket="processed",
            objects=objects,
            checkpoints=checkpoints,
            occurrences=self.occurrences.seen_by(effects),
            leases=FakeLeases(self.clock, self.leases, Mortal(effects)),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(ledger, watermarks, publisher, StateMirrors(objects, self.clock)),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            owner="merger",
            lease_ttl_s=TTL_S,
        )

    async def merge(self, keys: Sequence[str], ports: Ports | None = None) -> Outcome:
        """One process handles these segments in one batch."""
        deliveries = [
            Delivery(
                id=key,
                body=Message.wrap(
                    MergeSegment(bucket="validated", key=key),
                    message_id=uuid4(),
                    run_id="r",
                    occurred_at=self.clock.now(),
                ).model_dump_json(),
                receives=1,
            )
            for key in keys
        ]
        return await merge_batch(ports or self.ports(Effects()), deliveries)

    async def merge_for_good(self, keys: Sequence[str]) -> None:
        """Deliver again until nothing comes back, as the queue does."""
        for _ in range(10):
            outcome = await self.merge(keys)
            keys = sorted(outcome.failed)
            if not keys:
                return
            self.clock.advance(TTL_S)
        raise AssertionError(f"still not merged: {outcome.reasons}")

    def rows(self) -> list[tuple[str, str]]:
        """(key, who brought it) of every row in every file, in order of the files."""
        found: list[tuple[str, str]] = []
        for name in sorted(self.objects.buckets["processed"].keys):
            current = self.objects.buckets["processed"].current(name)
            if current is not None:
                table = pq.read_table(io.BytesIO(current.body))
                assert table.column("created").to_pylist() == sorted(table.column("created").to_pylist())
                found += zip(table.column("key").to_pylist(), table.column("said_by").to_pylist(), strict=True)
        return found

    def assert_exact(self) -> None:
        """Each key that a segment brought is in the table once."""
        counts = Counter(key for key, _ in self.rows())
        assert counts == Counter(self.expected.keys()), counts

    async def assert_balanced(self, run_id: str) -> None:
        """The run has succeeded, which it only does when its ledger adds up."""
        run = await self.ledger.run(run_id)
        assert run is not None
        table = conserve(run, await self.ledger.segments(run_id))
        assert (table.problems, table.pending_segments) == ((), 0)
        assert run.state is RunState.SUCCEEDED


def asleep(world: TableWorld) -> tuple[Ports, SleepyObjects]:
    """A merger that will sleep right before it puts a file into the table."""
    effects = Effects()
    objects = SleepyObjects(world.objects, effects)
    return replace(world.ports(effects, objects), owner="sleeper"), objects
