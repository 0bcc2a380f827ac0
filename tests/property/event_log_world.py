"""Planner, validator and merger over fakes: the whole flow of visit events in one process and no network."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Iterable, MutableMapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import polars as pl
from structlog.testing import capture_logs

from contracts.envelope import Message
from contracts.records import VisitEvent
from contracts.runs import ErrorResponse, PlanRun, ScanPayload, ScanResponse
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters.plans import S3Plans
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.batch import plan_batch
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import Delivery
from services.runtime.ledger import Run
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from services.runtime.responses import respond
from services.runtime.settings import PROJECT
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.leases import FakeLeases
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.schemas import FakeObservedSchemas
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks

PIPELINES = load_pipelines(PROJECT / "pipelines")
PIPELINE = PIPELINES["visit_events"]
RAW, VALIDATED, QUARANTINE, CHECKPOINTS, STATE = "raw", "validated", "quarantine", "checkpoints", "state"
PROCESSED = "processed"
BUCKETS = {RAW: True, VALIDATED: False, QUARANTINE: False, CHECKPOINTS: True, PROCESSED: True, STATE: False}


class World:
    """One deployment. Messages move only when a method says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.objects = FakeObjects(BUCKETS, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.telemetry = FakeTelemetry()
        self.checkpoints = FakeCheckpoints()
        self._announced = 0
        self._scans = 0
        occurrences, watermarks = FakeOccurrences(), FakeWatermarks(self.clock)
        completion = Completion(self.ledger, watermarks, self.publisher, StateMirrors(self.objects, self.clock))
        self.planner = PlannerPorts(
            pipelines=PIPELINES,
            raw_bucket=RAW,
            checkpoints_bucket=CHECKPOINTS,
            processed_bucket=PROCESSED,
            objects=self.objects,
            plans=S3Plans(self.objects, STATE),
            occurrences=occurrences,
            checkpoints=self.checkpoints,
            ledger=self.ledger,
            watermarks=watermarks,
            publisher=self.publisher,
            completion=completion,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self.validator = ValidatorPorts(
            pipelines=PIPELINES,
            raw_bucket=RAW,
            checkpoints_bucket=CHECKPOINTS,
            processed_bucket=PROCESSED,
            reader=FakeBulkReader(self.objects),
            objects=self.objects,
            schemas=FakeObservedSchemas(self.clock),
            claims=S3Claims(self.objects),
            segments=ParquetSegments(self.objects, VALIDATED, QUARANTINE),
            ledger=self.ledger,
            completion=completion,
            publisher=self.publisher,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self.merger = MergerPorts(
            pipelines=PIPELINES,
            segments=ParquetSegmentReader(self.objects),
            strategy=Rewrite(self.objects),
            keys=S3TableKeys(self.objects, self.checkpoints),
            manifests=S3Manifests(self.objects, STATE),
            loads=S3Loads(self.objects, STATE),
            parts=S3Parts(self.objects),
            processed_bucket="processed",
            objects=self.objects,
            checkpoints=self.checkpoints,
            occurrences=occurrences,
            leases=FakeLeases(self.clock),
            ledger=self.ledger,
            watermarks=watermarks,
            publisher=self.publisher,
            completion=completion,
            telemetry=self.telemetry,
            clock=self.clock,
            owner="merger",
            lease_ttl_s=60,
        )

    async def put(self, name: str, body: bytes) -> ObjectInfo:
        """Upload a file under the source prefix."""
        return await self.objects.put(RAW, PIPELINE.source.prefix + name, body)

    async def plan(self, payload: ScanPayload | None = None) -> str:
        """Plan a scan and leave its segments in the queue; returns the run id."""
        self._scans += 1
        self.clock.advance(1)
        run_id = f"scan-{self._scans}"
        request = PlanRun(pipeline=PIPELINE.name, run_id=run_id, payload=payload or ScanPayload())
        message = Message.wrap(request, message_id=UUID(int=1), run_id=run_id, occurred_at=self.clock.now())
        outcome = await plan_batch(self.planner, [Delivery("plan", message.model_dump_json())])
        assert not outcome.failed, outcome.reasons
        return run_id

    async def work(self) -> None:
        """Validate and merge until nothing is left to do; every message is handled in one go."""
        while self.publisher.sent["validate-objects"] or self._unannounced():
            commands = self.publisher.sent["validate-objects"]
            bodies = list(commands)
            commands.clear()
            await self._validate(bodies)
            segments = [notification(VALIDATED, info) for info in self._unannounced()]
            self._announced = len(self.objects.puts)
            outcome = await merge_batch(self.merger, deliveries(segments))
            assert not outcome.failed, outcome.reasons

    async def scan(self, payload: ScanPayload | None = None) -> Run:
        """A whole scan; returns the run as the ledger has it in the end."""
        run_id = await self.plan(payload)
        await self.work()
        run = await self.ledger.run(run_id)
        assert run is not None
        return run

    async def announce(self, objects: Iterable[ObjectInfo]) -> None:
        """S3's events for uploads, in this order and as often as given, then all the work that follows."""
        await self._validate([notification(RAW, info) for info in objects])
        await self.work()

    async def response(self, run: Run, checkpoint: str) -> ScanResponse | ErrorResponse:
        """What the caller of a scan gets back."""
        table = conserve(run, await self.ledger.segments(run.run_id))
        return respond(run, table, await self.checkpoints.head(checkpoint))

    def rows(self, bucket: str = CHECKPOINTS, key: str = PIPELINE.target.key) -> pl.DataFrame | None:
        """The checkpoint as a reader finds it; None if it was never written."""
        stored = self.objects.buckets[bucket].current(key)
        return None if stored is None else pl.read_parquet(BytesIO(stored.body))

    def merged(self, bucket: str = CHECKPOINTS, key: str = PIPELINE.target.key) -> list[VisitEvent]:
        """The checkpoint's rows, in order, as events."""
        frame = self.rows(bucket, key)
        return [] if frame is None else [VisitEvent(**row) for row in frame.iter_rows(named=True)]

    def quarantined(self) -> list[tuple[str, str, list[dict[str, object]]]]:
        """(key, reason, errors) of every quarantined record."""
        files = [versions[-1] for versions in self.objects.buckets[QUARANTINE].keys.values()]
        lines = [json.loads(line) for stored in files if stored for line in stored.body.splitlines()]
        return [(line["occurrence"]["key"], line["reason"], line["errors"]) for line in lines]

    async def _validate(self, bodies: Sequence[str]) -> None:
        outcome = await validate_batch(self.validator, deliveries(bodies))
        assert not outcome.failed, outcome.reasons

    def _unannounced(self) -> list[ObjectInfo]:
        return [info for bucket, info in self.objects.puts[self._announced :] if bucket == VALIDATED]


def play(story: Coroutine[Any, Any, None]) -> list[MutableMapping[str, Any]]:
    """Run a story to its end; returns what was logged meanwhile."""
    with capture_logs() as lines:
        asyncio.run(story)
    return lines


def deliveries(bodies: Sequence[str]) -> list[Delivery]:
    """Bodies as a shell hands them over."""
    return [Delivery(str(number), body) for number, body in enumerate(bodies)]


def notification(bucket: str, info: ObjectInfo) -> str:
    """S3's event for an object, as it reaches a queue through a topic with raw delivery."""
    described = {"key": quote_plus(info.key, safe="/"), "size": info.size, "eTag": info.etag}
    if info.version_id is not None:
        described["versionId"] = info.version_id
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": described}}
    return json.dumps({"Records": [record]})


def count(events: Iterable[VisitEvent]) -> Counter[VisitEvent]:
    """Events as a multiset: order is another property's business."""
    return Counter(events)
