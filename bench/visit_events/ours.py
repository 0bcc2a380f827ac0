"""Ours on the scan path, in one process: the planner's, the validator's and the merger's own use cases and adapters.

Objects are read and written through S3 (the stub adds its latency to every answer); the ledger, the index of settled
occurrences, heads and leases are in DynamoDB, on the emulator. Commands go straight from one use case to the next, so
no queue is measured.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from uuid import uuid4

from bench.visit_events.seed import Phases, arguments
from contracts.envelope import Message, Payload
from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunState, ScanPayload
from contracts.segments import MergeSegment
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.adapters.strategies import BySize
from services.merger.config import MergerSettings
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters.plans import S3Plans
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.plan import plan_run
from services.runtime.aws.bulk_reads import BulkS3Reader
from services.runtime.aws.checkpoints import DynamoCheckpoints
from services.runtime.aws.clients import Clients
from services.runtime.aws.leases import DynamoLeases
from services.runtime.aws.ledger import DynamoLedger
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.aws.occurrences import DynamoOccurrences
from services.runtime.aws.schemas import DynamoObservedSchemas
from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.clock import SystemClock
from services.runtime.completion import Completion
from services.runtime.declarations import load_pipeline
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.mirrors import StateMirrors
from services.runtime.settings import PROJECT
from services.runtime.telemetry import Unit, configure_logging
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch

LEASE_TTL_S = 60.0


class Handover:
    """Commands by queue, in memory: what the queues between the services would hold."""

    def __init__(self) -> None:
        self.sent: dict[str, list[Delivery]] = {}

    async def send(self, queue: str, payloads: Sequence[Payload], *, run_id: str) -> None:
        """Keep commands for the next use case."""
        for payload in payloads:
            message = Message.wrap(payload, message_id=uuid4(), run_id=run_id, occurred_at=SystemClock().now())
            delivery = Delivery(id=str(message.id), body=message.model_dump_json())
            self.sent.setdefault(queue, []).append(delivery)

    async def announce(self, fact: Payload, *, run_id: str) -> None:
        """Facts have no reader here."""


class Silent:
    """Telemetry nobody reads."""

    def metric(self, name: str, value: float, unit: Unit = "Count", **dimensions: str) -> None:
        """Record nothing."""

    def flush(self) -> None:
        """Hand over nothing."""

    def segment(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the port's signature
        """Trace nothing."""
        return nullcontext()


class Bench:
    """The three services wired to one stub and one emulator."""

    def __init__(self, clients: Clients, reader: BulkS3Reader, pipeline: Pipeline, bucket: str) -> None:
        settings = MergerSettings.read(os.environ)
        clock, objects, handover, silent = SystemClock(), S3Objects(clients.s3), Handover(), Silent()
        pipelines = {pipeline.name: pipeline}
        db = clients.dynamodb
        self.ledger = DynamoLedger(db, settings.resource("ledger"), clock)
        self.checkpoints = DynamoCheckpoints(db, settings.resource("checkpoints"))
        occurrences = DynamoOccurrences(db, settings.resource("occurrences"))
        watermarks = DynamoWatermarks(db, settings.resource("watermarks"), clock)
        completion = Completion(self.ledger, watermarks, handover, StateMirrors(objects, clock))
        self.handover = handover
        self.planner = PlannerPorts(
            pipelines=pipelines,
            raw_bucket=bucket,
            checkpoints_bucket=bucket,
            processed_bucket=bucket,
            objects=objects,
            plans=S3Plans(objects, "state"),
            occurrences=occurrences,
            checkpoints=self.checkpoints,
            ledger=self.ledger,
            watermarks=watermarks,
            publisher=handover,
            completion=completion,
            telemetry=silent,
            clock=clock,
        )
        self.validator = ValidatorPorts(
            pipelines=pipelines,
            raw_bucket=bucket,
            checkpoints_bucket=bucket,
            processed_bucket=bucket,
            reader=reader,
            objects=objects,
            schemas=DynamoObservedSchemas(db, settings.resource("schemas"), clock),
            claims=S3Claims(objects),
            segments=ParquetSegments(objects, "validated", "quarantine"),
            ledger=self.ledger,
            completion=completion,
            publisher=handover,
            telemetry=silent,
            clock=clock,
        )
        self.merger = MergerPorts(
            pipelines=pipelines,
            segments=ParquetSegmentReader(objects),
            strategy=BySize(Stores(objects, S3Multipart(clients.s3)), append_from=settings.append_from_bytes),
            keys=S3TableKeys(objects, self.checkpoints),
            manifests=S3Manifests(objects, "state"),
            loads=S3Loads(objects, "state"),
            parts=S3Parts(objects),
            processed_bucket="processed",
            objects=objects,
            checkpoints=self.checkpoints,
            occurrences=occurrences,
            leases=DynamoLeases(db, settings.resource("leases"), clock),
            ledger=self.ledger,
            watermarks=watermarks,
            publisher=handover,
            completion=completion,
            telemetry=silent,
            clock=clock,
            owner="bench",
            lease_ttl_s=LEASE_TTL_S,
        )


async def scan(pipeline: Pipeline, bucket: str) -> dict[str, object]:
    """One scan, from the listing to the settled ledger; counts and the seconds of each phase."""
    phases = Phases()
    async with Clients() as clients, BulkS3Reader(clients.s3) as reader:
        bench = Bench(clients, reader, pipeline, bucket)
        run_id = f"bench-{uuid4().hex[:8]}"
        with phases.timed("plan"):
            await plan_run(bench.planner, PlanRun(pipeline=pipeline.name, run_id=run_id, payload=ScanPayload()))
        with phases.timed("validate"):
            refuse_failures(await validate_batch(bench.validator, bench.handover.sent.get("validate-objects", [])))
        segments = await bench.ledger.segments(run_id)
        places = [s.location.split("/", 1) for s in segments if s.location is not None]
        await bench.handover.send("merge", [MergeSegment(bucket=b, key=k) for b, k in places], run_id=run_id)
        with phases.timed("merge"):
            refuse_failures(await merge_batch(bench.merger, bench.handover.sent["merge"]))
        run = await bench.ledger.run(run_id)
        if run is None or run.state is not RunState.SUCCEEDED:
            raise RuntimeError(f"the run did not succeed: {run}")
        head = await bench.checkpoints.head(f"{bucket}/{pipeline.target.key}")
        merged = sum(s.settlement.merged for s in await bench.ledger.segments(run_id) if s.settlement is not None)
        return {"new_events_processed": merged, "total_events": head.total_rows, "phases": phases.seconds}


def refuse_failures(outcome: Outcome) -> None:
    """A benchmark of something that failed would mean nothing."""
    if outcome.failed:
        raise RuntimeError(f"deliveries failed: {outcome.reasons}")


def declared(options_prefix: str, checkpoint_key: str) -> Pipeline:
    """The shipped declaration, for the benchmark's prefix and key."""
    pipeline = load_pipeline(PROJECT / "pipelines" / "visit_events.toml")
    document = pipeline.model_dump()
    document["source"]["prefix"] = options_prefix
    document["target"]["key"] = checkpoint_key
    return Pipeline.parse(document, where="bench")


def main() -> None:
    """Update the checkpoint that the arguments name; print counts and phase times."""
    options = arguments().parse_args()
    configure_logging("bench", "ERROR")
    pipeline = declared(options.prefix, options.checkpoint_key)
    answer = asyncio.run(scan(pipeline, options.bucket))
    sys.stdout.write(json.dumps({**answer, "events_failed": 0}) + "\n")


if __name__ == "__main__":
    main()
