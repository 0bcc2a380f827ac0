"""A validator of entities over fakes, and the raw objects that fetchers wrote for it."""

import gzip
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pyarrow import ipc

from contracts.envelope import Message
from contracts.fetching import ValidateFetched
from contracts.loads import LandedSegment
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.sources import FetchedName
from services.runtime.completion import Completion
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.landing import read_trailer
from services.runtime.ledger import Run, ScanCounts
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import ObjectInfo
from services.validator.adapters import ParquetSegments, S3Claims, S3Landed
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
from tests.unit.validator.landed_rows import DAY, RUN

TARGET = {"kind": "bronze"}
ORDERS = Pipeline.parse(
    {
        "name": "shop.orders",
        "entity": "orders",
        "source": {
            "kind": "postgres",
            "system": "rds",
            "secret": "db",
            "table": "orders",
            "key": ["order_id", "line"],
            "cursor": "updated_at",
            "event_date": "ordered_on",
        },
        "target": TARGET,
    },
    where="shop.toml",
)
PAYMENTS = Pipeline.parse(
    {
        "name": "shop.payments",
        "entity": "payments",
        "source": {
            "kind": "rest",
            "system": "api",
            "url": "http://api",
            "path": "/payments",
            "key": ["payment_id"],
            "cursor": "updated_at",
            "event_date": "paid_at",
            "fields": {
                "payment_id": "string",
                "amount": "decimal(6,2)",
                "tags": "list<string>",
                "paid_at": "timestamp_us_utc",
                "updated_at": "timestamp_us_utc",
            },
        },
        "target": TARGET,
    },
    where="shop.toml",
)


def key_of(pipeline: Pipeline = ORDERS, run_id: str = RUN, segment_id: str = "s1") -> str:
    """The key of a raw object."""
    suffix = "land" if pipeline is ORDERS else "json.gz"
    name = {"run_date": DAY, "pipeline": pipeline.name, "run_id": run_id, "segment_id": segment_id, "suffix": suffix}
    return FetchedName.model_validate(name).key("raw/")


def command(key: str | None = None, pipeline: Pipeline = ORDERS, run_id: str = RUN, *, replay: bool = False) -> str:
    """The command to validate a raw object."""
    asked = ValidateFetched(
        pipeline=pipeline.name,
        run_id=run_id,
        segment_id="s1",
        bucket="raw",
        key=key or key_of(pipeline, run_id),
        replay=replay,
    )
    return Message.wrap(asked, message_id=UUID(int=1), run_id=run_id, occurred_at=ManualClock().now()).model_dump_json()


class World:
    """One deployment, with as many validators as are asked for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.objects: FakeObjects = FakeObjects(
            {"raw": True, "validated": False, "quarantine": False}, clock=self.clock
        )
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
            pipelines={"shop.orders": ORDERS, "shop.payments": PAYMENTS},
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
            landed=S3Landed(objects, "validated"),
        )

    async def plan(
        self, pipeline: Pipeline = ORDERS, mode: RunMode = RunMode.INCREMENTAL, run_id: str = RUN, segments: str = "1"
    ) -> None:
        """A run under way whose segments s1, s2, … are to be fetched."""
        await self.ledger.open_run(Run(run_id, pipeline.name, mode, RunState.PLANNING, f"{DAY}T00:00:00"))
        await self.ledger.plan_segments(run_id, [(f"s{number}", 0) for number in segments])
        await self.ledger.start_run(run_id, planned=len(segments), scan=ScanCounts(), frontier=None)

    async def put(self, body: bytes, *, rows: int | str | None = None, key: str | None = None) -> ObjectInfo:
        """A raw landing file of s1; its rows are what its trailer says, if that can be read."""
        said = read_trailer(body, "").rows if rows is None else rows
        return await self.objects.put("raw", key or key_of(), body, metadata={"tidegate-rows": str(said)})

    async def put_records(
        self, lines: Sequence[bytes], *, run_id: str = RUN, rows: int | str | None = None
    ) -> ObjectInfo:
        """A raw object of payments."""
        body = gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)
        said = str(len(lines) if rows is None else rows)
        return await self.objects.put("raw", key_of(PAYMENTS, run_id), body, metadata={"tidegate-rows": said})

    async def validate(self, *bodies: str, effects: Effects | None = None, receives: int = 1) -> Outcome:
        """Hand one batch to a validator."""
        batch = [Delivery(str(number), body, receives) for number, body in enumerate(bodies)]
        return await validate_batch(self.ports(effects), batch)

    async def refused(self, body: bytes, *, rows: int | str | None = None) -> str:
        """Why a landing file goes back; nothing may be passed on of it."""
        await self.plan()
        await self.put(body, rows=rows)
        outcome = await self.validate(command())
        assert list(outcome.failed) == ["0"]
        assert not self.contents("validated")
        reason = outcome.reasons["0"]
        assert reason.startswith(f"s3://raw/{key_of()}")
        return reason.removeprefix(f"s3://raw/{key_of()}").removeprefix(": ").removeprefix(" ")

    async def failed(self, run_id: str = RUN) -> str:
        """Why the run failed; nothing may have been passed on."""
        run = await self.ledger.run(run_id)
        assert run is not None
        assert run.state is RunState.FAILED
        assert not self.contents("validated")
        return run.reason or ""

    def contents(self, bucket: str) -> dict[str, bytes]:
        """The bytes of every object."""
        keys = self.objects.buckets[bucket].keys
        return {key: versions[-1].body for key, versions in keys.items() if versions[-1] is not None}

    def segment(self, name: str = f"shop.orders/{RUN}/s1") -> LandedSegment:
        """What was said of a segment."""
        return LandedSegment.model_validate_json(self.contents("validated")[f"{name}.json"])

    def rows(self, segment: LandedSegment) -> list[tuple[Any, ...]]:
        """The rows that a segment points to, as Python's own values."""
        stored = self.objects.buckets[segment.bucket].current(segment.key)
        assert stored is not None
        assert (stored.info.etag, stored.info.version_id) == (segment.etag, segment.version_id)
        rows: list[tuple[Any, ...]] = []
        for chunk in segment.chunks:
            table = ipc.open_stream(stored.body[chunk.offset : chunk.offset + chunk.length]).read_all()
            assert table.num_rows == chunk.rows
            rows += zip(*(column.to_pylist() for column in table.columns), strict=True)
        return rows

    def quarantined(self, name: str = f"shop.payments/{RUN}/s1") -> list[dict[str, Any]]:
        """The entries of a quarantine object."""
        return [json.loads(line) for line in self.contents("quarantine").get(f"{name}.ndjson", b"").splitlines()]
