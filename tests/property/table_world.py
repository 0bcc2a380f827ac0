"""A merger over a table of partition files: segments in, files out, and processes that die or sleep in between."""

import io
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.envelope import Message
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import DESCRIPTOR_KEY, Destination, MergeSegment, SegmentCounts, SegmentDescriptor, Verdict
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Sizes
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.spans import USUAL, Reading
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.adapters.strategies import BySize
from services.merger.ports import MergeStrategy, Ports
from services.merger.use_case.batch import merge_batch
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Collection, Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.multipart import FakeMultipart
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
TINY = Sizes(target=2, most_groups=6, window_bytes=5_000, ending_bytes=2_000, at_hand_bytes=3_000)
"""So small that a few merges move, keep, stream and compact groups."""
RANGED = Reading(whole=0, footer=700, gap=150, span=400)
"""No file is small enough to be read whole."""
PART_MIN = 100
PART_BYTES = 2_000
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


class TableWorld:
    """One deployment's merger. Nothing moves but by a method.

    With ``sizes`` it appends to every file; without, it rewrites them.
    """

    def __init__(self, sizes: Sizes | None = None) -> None:
        self.sizes = sizes
        self.clock = ManualClock()
        buckets = {"validated": False, "processed": True, "state": False}
        self.objects = FakeObjects(buckets, clock=self.clock)
        self.multipart = FakeMultipart(self.objects, smallest=PART_MIN)
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
        self,
        run_id: str,
        segment_id: str,
        month: int,
        keys: Sequence[str],
        *,
        bad: int = 0,
        day: str = "2026-03-01",
        second: int = 0,
    ) -> str:
        """A validated segment: rows of one month from a second on, and so many quarantined ones. Returns its key."""
        created = [START.replace(month=month) + timedelta(seconds=second + i) for i in range(len(keys))]
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

    def strategy(self, objects: FakeObjects, multipart: FakeMultipart) -> MergeStrategy:
        """How a process merges."""
        if self.sizes is None:
            return Rewrite(objects)
        return BySize(Stores(objects, multipart, PART_MIN, PART_BYTES), append_from=0, sizes=self.sizes)

    def ports(
        self, effects: Effects, objects: FakeObjects | None = None, multipart: FakeMultipart | None = None
    ) -> Ports:
        """The merger as one process sees it."""
        objects = objects or self.objects.seen_by(effects)
        multipart = multipart or self.multipart.seen_by(objects)
        ledger, publisher = self.ledger.seen_by(effects), self.publisher.seen_by(effects)
        checkpoints = self.checkpoints.seen_by(effects)
        watermarks = FakeWatermarks(self.clock)
        return Ports(
            pipelines={PIPELINE.name: PIPELINE},
            segments=ParquetSegmentReader(objects),
            strategy=self.strategy(objects, multipart),
            keys=S3TableKeys(objects, checkpoints, reading=USUAL if self.sizes is None else RANGED),
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

    async def merge_for_good(self, keys: Sequence[str], ports: Ports | None = None) -> None:
        """Deliver again until nothing comes back, as the queue does."""
        for _ in range(10):
            outcome = await self.merge(keys, ports)
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
                if current.info.metadata:
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
