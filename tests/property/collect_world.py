"""All services of a collected pipeline over one deployment in memory, with processes that die anywhere."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.runs import CollectPayload, PlanRun
from services.fetcher.adapters.raw import S3RawObjects
from services.fetcher.ports import Ports as FetcherPorts
from services.fetcher.use_case import fetch_batch
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters.plans import S3CollectPlans, S3Plans
from services.planner.ports import Collecting
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.batch import plan_batch
from services.runtime.datasets import Dataset
from services.runtime.deliveries import Delivery, Outcome
from services.validator.adapters import ParquetSegments, S3Claims
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.datasets import FakeDataset
from tests.fakes.effects import Effects
from tests.fakes.telemetry import FakeTelemetry
from tests.property.fleet_world import FleetWorld
from tests.property.table_world import TTL_S

MIRROR = "pipeline_state/last_run_timestamp.json"


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


class CollectWorld(FleetWorld):
    """One deployment and its source."""

    def __init__(self, pipeline: Pipeline, rng: Random) -> None:
        super().__init__({pipeline.name: pipeline}, rng)
        self.pipeline = pipeline
        source = pipeline.source
        assert source.kind == "socrata"
        self.dataset = FakeDataset(source, wanted=lambda row: row.get("status") == "Open")

    async def request(self, **payload: Any) -> str:
        """Ask the planner for a run; returns its id."""
        run_id = self.next_run()
        return self.ask(PlanRun(pipeline=self.pipeline.name, run_id=run_id, collect=CollectPayload(**payload)))

    async def run(self, *, mortality: float = 0.0, **payload: Any) -> str:
        """A whole run, each step of which may die; returns its id."""
        run_id = await self.request(**payload)
        await self.settle(mortality=mortality)
        return run_id

    async def handle(self, queue: str, effects: Effects, batch: Sequence[Delivery]) -> Outcome:
        """See ``FleetWorld``."""
        if queue == "plan-requests":
            return await plan_batch(self._planner(effects), batch)
        if queue == "fetch-segments":
            return await fetch_batch(self._fetcher(effects), batch)
        if queue == "validate-objects":
            return await validate_batch(self._validator(effects), batch)
        return await merge_batch(self._merger(effects), batch)

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
            watermarks=self.watermarks_of(effects),
            publisher=self.publisher.seen_by(effects),
            completion=self.completion(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            collecting=Collecting(
                datasets=OneDataset(self.dataset.seen_by(effects)),
                plans=S3CollectPlans(objects, "state"),
                leases=self.leases(effects),
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
            completion=self.completion(effects),
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
            completion=self.completion(effects),
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
            loads=S3Loads(objects, "state"),
            parts=S3Parts(objects),
            processed_bucket="processed",
            objects=objects,
            checkpoints=checkpoints,
            occurrences=self.occurrences.seen_by(effects),
            leases=self.leases(effects),
            ledger=self.ledger.seen_by(effects),
            watermarks=self.watermarks_of(effects),
            publisher=self.publisher.seen_by(effects),
            completion=self.completion(effects),
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
