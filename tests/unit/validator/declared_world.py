"""A validator over fakes, and the raw objects that fetchers wrote for it."""

import gzip
import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

import polars as pl

from contracts.envelope import Message
from contracts.fetching import ValidateFetched
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import DESCRIPTOR_KEY, SegmentDescriptor
from contracts.sources import FetchedName
from services.runtime.completion import Completion
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.schemas import FakeObservedSchemas
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.event_log_world import notification

DOCUMENT: dict[str, Any] = {
    "name": "calls",
    "entity": "calls",
    "source": {"kind": "socrata", "dataset": "abcd-1234", "cursor": "at", "unique_key": "key"},
    "target": {"kind": "partitions", "key": "calls/month={at:%m}/data_{run_date}.parquet", "order_by": "at"},
    "columns": {
        "key": {"type": "string", "required": True},
        "at": {"type": "timestamp_us", "required": True},
        "n": {"type": "int64", "on_error": "null"},
        "price": {"type": "float64"},
        "kind": {"type": "string"},
    },
    "drop": [{"field": "kind", "starts_with": "test"}],
}
CALLS = Pipeline.parse(DOCUMENT, where="calls.toml")
TEXTS = Pipeline.parse(DOCUMENT | {"name": "texts"}, where="texts.toml")
DAY = "2025-03-01"


def row(key: str, month: int = 1, **values: Any) -> bytes:
    """A line with a row of some month."""
    return json.dumps({"key": key, "at": f"2025-{month:02d}-07T08:09:10.000", **values}).encode()


class World:
    """One deployment, with as many validators as are asked for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.objects = FakeObjects({"raw": True, "validated": False, "quarantine": False}, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.schemas = FakeObservedSchemas(self.clock)
        self.telemetry = FakeTelemetry()

    def ports(self, effects: Effects | None = None) -> Ports:
        """The ports of one validator process."""
        effects = effects or Effects()
        objects, ledger = self.objects.seen_by(effects), self.ledger.seen_by(effects)
        publisher, mirrors = self.publisher.seen_by(effects), StateMirrors(objects, self.clock)
        return Ports(
            pipelines={"calls": CALLS, "texts": TEXTS},
            raw_bucket="raw",
            checkpoints_bucket="checkpoints",
            processed_bucket="processed",
            reader=FakeBulkReader(objects),
            objects=objects,
            schemas=self.schemas.seen_by(effects),
            claims=S3Claims(objects),
            segments=ParquetSegments(objects, "validated", "quarantine"),
            ledger=ledger,
            publisher=publisher,
            completion=Completion(ledger, FakeWatermarks(self.clock), publisher, mirrors),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    async def plan(self, run_id: str = "run-1", segments: Sequence[str] = ("000",)) -> None:
        """A run under way whose segments are to be fetched."""
        await self.ledger.open_run(Run(run_id, "calls", RunMode.INCREMENTAL, RunState.PLANNING, "2025-03-01T00:00:00"))
        await self.ledger.plan_segments(run_id, [(segment, 0) for segment in segments])
        await self.ledger.start_run(run_id, planned=len(segments), scan=ScanCounts(), frontier=None)

    async def fetched(
        self, lines: Sequence[bytes], *, run_id: str = "run-1", body: bytes | None = None, rows: str | None = None
    ) -> ObjectInfo:
        """The raw object of a run's segment 000."""
        text = b"".join(line + b"\n" for line in lines)
        return await self.objects.put(
            "raw",
            key_of(run_id),
            gzip.compress(text, mtime=0) if body is None else body,
            metadata={"tidegate-rows": str(len(lines)) if rows is None else rows},
        )

    async def validate(self, bodies: Sequence[str], effects: Effects | None = None) -> Outcome:
        """Hand one batch to a validator."""
        batch = [Delivery(str(number), body) for number, body in enumerate(bodies)]
        return await validate_batch(self.ports(effects), batch)

    async def validated(self, lines: Sequence[bytes], run_id: str = "run-1") -> None:
        """Fetch these lines and validate them; nothing may fail."""
        await self.plan(run_id)
        outcome = await self.validate([notification("raw", await self.fetched(lines, run_id=run_id))])
        assert not outcome.failed, outcome.reasons

    def segments(self) -> dict[str, tuple[SegmentDescriptor, pl.DataFrame]]:
        """Every validated segment, by its key; the first of a raw object's before its further ones."""
        found = {}
        for key, versions in sorted(self.objects.buckets["validated"].keys.items(), key=lambda item: len(item[0])):
            assert versions[-1] is not None
            body = versions[-1].body
            about = pl.read_parquet_metadata(BytesIO(body))[DESCRIPTOR_KEY]
            found[key] = SegmentDescriptor.model_validate_json(about), pl.read_parquet(BytesIO(body))
        return found

    def quarantined(self, key: str = "calls/run-1/000.ndjson") -> list[dict[str, Any]]:
        """The entries of a quarantine object."""
        stored = self.objects.buckets["quarantine"].current(key)
        return [] if stored is None else [json.loads(line) for line in stored.body.splitlines()]

    def metric(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What was published of a metric, by its dimensions."""
        return {point.dimensions: point.value for point in self.telemetry.published if point.name == name}


def key_of(run_id: str, pipeline: str = "calls") -> str:
    """The key of a run's segment 000."""
    return FetchedName(run_date=DAY, pipeline=pipeline, run_id=run_id, segment_id="000").key("raw/")


def command(run_id: str = "run-1", *, key: str | None = None, pipeline: str = "calls", replay: bool = False) -> str:
    """The command to validate the raw object of run-1, or another."""
    asked = ValidateFetched(
        pipeline=pipeline, run_id=run_id, segment_id="000", bucket="raw", key=key or key_of(run_id), replay=replay
    )
    return Message.wrap(asked, message_id=UUID(int=1), run_id=run_id, occurred_at=ManualClock().now()).model_dump_json()
