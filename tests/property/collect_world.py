"""All services of a collected pipeline over one deployment in memory, with processes that die anywhere.

Messages lie in queues and S3's events follow every put. A step takes one message, hands it to a fresh process, and puts
it back if that process died or failed. Nothing else moves, so that a walk is a sequence of choices.
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from contracts.envelope import Message
from contracts.pipelines import Pipeline
from contracts.runs import CollectPayload, PlanRun, RunState
from services.fetcher.adapters import S3RawObjects
from services.fetcher.ports import Ports as FetcherPorts
from services.fetcher.use_case import fetch_batch
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters import S3CollectPlans, S3Plans
from services.planner.ports import Collecting
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.batch import plan_batch
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.datasets import Dataset
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.mirrors import StateMirrors
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.datasets import FakeDataset
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.schemas import FakeObservedSchemas
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.event_log_world import notification
from tests.property.table_world import TTL_S, Mortal

BUCKETS = {"raw": True, "validated": False, "quarantine": False, "checkpoints": True, "processed": True, "state": False}
MIRROR = "pipeline_state/last_run_timestamp.json"
STEPS = 5_000
"""More than any walk needs: a walk that takes so many does not end."""


def declare(**source: Any) -> Pipeline:
    """A small collected pipeline."""
    return Pipeline.parse(
        {
            "name": "requests",
            "entity": "requests",
            "columns": {
                "key": {"type": "string", "required": True},
                "created": {"type": "timestamp_us", "required": True},
                "status": {"type": "string", "required": True},
                "value": {"type": "int64"},
            },
            "source": {
                "kind": "socrata",
                "dataset": "abcd-1234",
                "where": "status = 'Open'",
                "cursor": "created",
                "unique_key": "key",
                **source,
            },
            "target": {
                "kind": "partitions",
                "key": "processed/month={created:%m}/data_{run_date}.parquet",
                "order_by": "created",
                "state_mirror": MIRROR,
            },
        },
        where="requests.toml",
    )


@dataclass(frozen=True)
class OneDataset:
    """``Datasets`` of a deployment with one pipeline."""

    dataset: FakeDataset

    def of(self, pipeline: str) -> Dataset:
        """See ``Datasets``."""
        assert pipeline == "requests"
        return self.dataset


class CollectWorld:
    """One deployment and its source."""

    def __init__(self, pipeline: Pipeline, rng: Random) -> None:
        self.pipeline = pipeline
        self.rng = rng
        self.clock = ManualClock()
        source = pipeline.source
        assert source.kind == "socrata"
        self.dataset = FakeDataset(source, wanted=lambda row: row.get("status") == "Open")
        self.objects = FakeObjects(BUCKETS, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.checkpoints, self.occurrences = FakeCheckpoints(), FakeOccurrences()
        self.leases, self.schemas = LeaseTable(), FakeObservedSchemas(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.waiting: dict[str, list[str]] = {name: [] for name in self.publisher.sent}
        self._announced = 0
        self._runs = 0
        self.deaths = 0

    async def request(self, **payload: Any) -> str:
        """Ask the planner for a run; returns its id."""
        self._runs += 1
        self.clock.advance(1)
        run_id = f"run-{self._runs}"
        command = PlanRun(pipeline=self.pipeline.name, run_id=run_id, collect=CollectPayload(**payload))
        message = Message.wrap(command, message_id=uuid4(), run_id=run_id, occurred_at=self.clock.now())
        self.waiting["plan-requests"].append(message.model_dump_json())
        return run_id

    async def run(self, *, mortality: float = 0.0, **payload: Any) -> str:
        """A whole run, each step of which may die; returns its id."""
        run_id = await self.request(**payload)
        await self.settle(mortality=mortality)
        return run_id

    async def settle(self, *, mortality: float = 0.0) -> None:
        """Let messages be handled, in any order, until there is none left."""
        for _ in range(STEPS):
            queues = self.busy()
            if not queues:
                return
            await self.step(self.rng.choice(queues), mortality=mortality)
        raise AssertionError(f"work does not end: {self.waiting}")

    def busy(self) -> list[str]:
        """The queues in which something waits."""
        self._spread()
        return [name for name, bodies in self.waiting.items() if bodies]

    async def step(self, queue: str, *, mortality: float = 0.0) -> None:
        """One process takes some messages of a queue, and handles them or dies; some are delivered twice."""
        count = 1 if queue in {"plan-requests", "fetch-segments"} else self.rng.randint(1, 3)
        self.rng.shuffle(self.waiting[queue])
        bodies, self.waiting[queue] = self.waiting[queue][:count], self.waiting[queue][count:]
        dies = self.rng.random() < mortality
        effects = Effects(KillSwitch(self.rng.randint(1, 40) if dies else None))
        try:
            outcome = await self._handle(queue, effects, [Delivery(str(i), body) for i, body in enumerate(bodies)])
            again = [body for i, body in enumerate(bodies) if str(i) in outcome.failed]
            if mortality and self.rng.random() < 0.1:
                again = bodies  # redelivered, though it was done
        except KilledError:
            self.deaths += 1
            again = bodies
            self.clock.advance(TTL_S)
        if again:
            self.clock.advance(TTL_S / 4)
        self.waiting[queue] += again

    async def _handle(self, queue: str, effects: Effects, batch: Sequence[Delivery]) -> Outcome:
        if queue == "plan-requests":
            return await plan_batch(self._planner(effects), batch)
        if queue == "fetch-segments":
            return await fetch_batch(self._fetcher(effects), batch)
        if queue == "validate-objects":
            return await validate_batch(self._validator(effects), batch)
        return await merge_batch(self._merger(effects), batch)

    def _spread(self) -> None:
        for name, sent in self.publisher.sent.items():
            self.waiting[name] += sent
            sent.clear()
        for bucket, info in self.objects.puts[self._announced :]:
            queue = {"raw": "validate-objects", "validated": "merge-segments"}.get(bucket)
            if queue is not None:
                self.waiting[queue].append(notification(bucket, info))
        self._announced = len(self.objects.puts)

    def _completion(self, effects: Effects) -> Completion:
        objects = self.objects.seen_by(effects)
        mirrors = StateMirrors(objects, self.clock)
        return Completion(
            self.ledger.seen_by(effects), self._watermarks(effects), self.publisher.seen_by(effects), mirrors
        )

    def _watermarks(self, effects: Effects) -> FakeWatermarks:
        watermarks = FakeWatermarks(self.clock, Mortal(effects))
        watermarks.records = self.watermarks.records
        return watermarks

    def _planner(self, effects: Effects) -> PlannerPorts:
        objects = self.objects.seen_by(effects)
        return PlannerPorts(
            pipelines={self.pipeline.name: self.pipeline},
            raw_bucket="raw",
            checkpoints_bucket="checkpoints",
            processed_bucket="processed",
            objects=objects,
            plans=S3Plans(objects, "state"),
            occurrences=self.occurrences.seen_by(effects),
            checkpoints=self.checkpoints.seen_by(effects),
            ledger=self.ledger.seen_by(effects),
            watermarks=self._watermarks(effects),
            publisher=self.publisher.seen_by(effects),
            completion=self._completion(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            collecting=Collecting(
                datasets=OneDataset(self.dataset.seen_by(effects)),
                plans=S3CollectPlans(objects, "state"),
                leases=FakeLeases(self.clock, self.leases, Mortal(effects)),
                owner="planner",
                lease_ttl_s=TTL_S,
                exclusive_for=timedelta(minutes=15),
            ),
        )

    def _fetcher(self, effects: Effects) -> FetcherPorts:
        return FetcherPorts(
            pipelines={self.pipeline.name: self.pipeline},
            raw_bucket="raw",
            datasets=OneDataset(self.dataset.seen_by(effects)),
            raw=S3RawObjects(self.objects.seen_by(effects)),
            ledger=self.ledger.seen_by(effects),
            completion=self._completion(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
        )

    def _validator(self, effects: Effects) -> ValidatorPorts:
        objects = self.objects.seen_by(effects)
        return ValidatorPorts(
            pipelines={self.pipeline.name: self.pipeline},
            raw_bucket="raw",
            checkpoints_bucket="checkpoints",
            processed_bucket="processed",
            objects=objects,
            reader=FakeBulkReader(objects),
            claims=S3Claims(objects),
            segments=ParquetSegments(objects, "validated", "quarantine"),
            schemas=self.schemas,
            ledger=self.ledger.seen_by(effects),
            completion=self._completion(effects),
            publisher=self.publisher.seen_by(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
        )

    def _merger(self, effects: Effects) -> MergerPorts:
        objects, checkpoints = self.objects.seen_by(effects), self.checkpoints.seen_by(effects)
        return MergerPorts(
            pipelines={self.pipeline.name: self.pipeline},
            segments=ParquetSegmentReader(objects),
            strategy=Rewrite(objects),
            keys=S3TableKeys(objects, checkpoints),
            manifests=S3Manifests(objects, "state"),
            objects=objects,
            checkpoints=checkpoints,
            occurrences=self.occurrences.seen_by(effects),
            leases=FakeLeases(self.clock, self.leases, Mortal(effects)),
            ledger=self.ledger.seen_by(effects),
            watermarks=self._watermarks(effects),
            publisher=self.publisher.seen_by(effects),
            completion=self._completion(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            owner="merger",
            lease_ttl_s=TTL_S,
        )

    def rows(self) -> Counter[tuple[str, str]]:
        """(key, cursor as the source writes it) of every row in the output."""
        found: Counter[tuple[str, str]] = Counter()
        holder = self.objects.buckets["processed"]
        for name in holder.keys:
            current = holder.current(name)
            if current is None or not name.endswith(".parquet"):
                continue
            table = pq.read_table(io.BytesIO(current.body))
            created = [moment.isoformat(timespec="milliseconds") for moment in table.column("created").to_pylist()]
            assert {moment[5:7] for moment in created} <= {name.split("month=")[1][:2]}
            found.update(zip(table.column("key").to_pylist(), created, strict=True))
        return found

    def published(self) -> Counter[tuple[str, str]]:
        """(key, cursor) of every row that the source publishes now and the declaration asks for."""
        return Counter((row["key"], row["created"]) for row in self.dataset.rows if row["status"] == "Open")

    def mirror(self) -> dict[str, Any] | None:
        """The state mirror."""
        current = self.objects.buckets["processed"].current(MIRROR)
        return None if current is None else dict(json.loads(current.body))

    def facts(self, kind: str) -> list[str]:
        """Identities of the facts of a kind, each once."""
        return sorted({message.run_id for message in self.publisher.announced() if message.kind == kind})

    async def assert_succeeded(self, run_id: str) -> int:
        """The run has succeeded and its ledger adds up; returns its new rows."""
        run = await self.ledger.run(run_id)
        assert run is not None
        assert run.state is RunState.SUCCEEDED, run
        table = conserve(run, await self.ledger.segments(run_id))
        assert (table.problems, table.pending_segments) == ((), 0)
        return table.records
