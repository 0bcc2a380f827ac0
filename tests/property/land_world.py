"""All services of a landed entity: a deployment in memory, a real PostgreSQL, and processes that die anywhere."""

import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from contracts.loads import FetchSlice, LoadManifest
from contracts.pipelines import Pipeline
from contracts.runs import LoadPayload, LoadType, PlanRun
from services.fetcher.adapters.landing_objects import S3LandingObjects
from services.fetcher.adapters.postgres import PostgresRows
from services.fetcher.adapters.raw import S3RawObjects
from services.fetcher.ports import Landing as FetcherLanding
from services.fetcher.ports import Ports as FetcherPorts
from services.fetcher.use_case import fetch_batch
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.loads import S3Loads
from services.merger.adapters.parts import S3Parts
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.storage import ParquetSegmentReader, S3Manifests
from services.merger.ports import Ports as MergerPorts
from services.merger.use_case.batch import merge_batch
from services.planner.adapters.entities import SourceEntities
from services.planner.adapters.plans import S3LoadPlans, S3Plans
from services.planner.adapters.postgres.entity import PostgresEntity
from services.planner.ports import Landing as PlannerLanding
from services.planner.ports import Ports as PlannerPorts
from services.planner.use_case.batch import plan_batch
from services.runtime.datasets import Block
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.postgres.access import PostgresAccess
from services.validator.adapters import ParquetSegments, S3Claims, S3Landed
from services.validator.ports import Ports as ValidatorPorts
from services.validator.use_case import validate_batch
from tests.fakes.bulk_reads import FakeBulkReader
from tests.fakes.datasets import FakeDatasets
from tests.fakes.effects import Effects
from tests.fakes.schemas import FakeEntitySchemas
from tests.fakes.secrets import FakeSecrets
from tests.fakes.telemetry import FakeTelemetry
from tests.property.fleet_world import FleetWorld
from tests.property.table_world import TTL_S

NAME = "shop.orders"
SECRET = "shop-db"  # noqa: S105 - the name of a secret

Version = tuple[int, int, datetime]
"""Key, number of the version, and when its transaction began."""


def declare(schema: str, *, overlap_s: int = 0) -> Pipeline:
    """Orders in a schema of their own; slices so small that a load has several."""
    document = {
        "name": NAME,
        "entity": "orders",
        "source": {
            "kind": "postgres",
            "system": "rds",
            "secret": SECRET,
            "database_schema": schema,
            "table": "orders",
            "key": ["id"],
            "cursor": "updated_at",
            "event_date": "placed_on",
            "lag_seconds": 0,
            "segment_rows": 3,
            "overlap_seconds": overlap_s,
        },
        "target": {"kind": "bronze", "prefix": "bronze/", "logs": "logs/"},
    }
    return Pipeline.parse(document, where="shop.toml")


class NoApi:
    """``Records`` of a deployment without any."""

    def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[Block]:
        """See ``Records``."""
        raise AssertionError(f"{pipeline.name} is no API: {command}")


class LandWorld(FleetWorld):
    """One deployment and its database."""

    def __init__(self, pipeline: Pipeline, secret: str, spool: Path, rng: Random) -> None:
        super().__init__({pipeline.name: pipeline}, rng)
        self.pipeline = pipeline
        self.entity_schemas = FakeEntitySchemas(self.clock)
        self._secrets = FakeSecrets(self.clock)
        self._secrets.stored[SECRET] = secret
        self._spool = spool

    def request(self, load_type: LoadType) -> str:
        """Ask the planner for a load; returns its run."""
        run_id = self.next_run()
        return self.ask(PlanRun(pipeline=NAME, run_id=run_id, load=LoadPayload(load_type=load_type)))

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
            pipelines=self.pipelines,
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
            landing=PlannerLanding(
                entities=SourceEntities({"postgres": partial(PostgresEntity.open, PostgresAccess(self._secrets))}),
                plans=S3LoadPlans(objects, "state"),
                schemas=self.entity_schemas.seen_by(effects),
                leases=self.leases(effects),
                owner="planner",
                lease_ttl_s=TTL_S,
                exclusive_for=timedelta(minutes=15),
            ),
        )

    def _fetcher(self, effects: Effects) -> FetcherPorts:
        objects = self.objects.seen_by(effects)
        return FetcherPorts(
            pipelines=self.pipelines,
            raw_bucket="raw",
            datasets=FakeDatasets({}),
            raw=S3RawObjects(objects),
            ledger=self.ledger.seen_by(effects),
            completion=self.completion(effects),
            telemetry=FakeTelemetry(),
            clock=self.clock,
            landing=FetcherLanding(
                tables={"postgres": PostgresRows(PostgresAccess(self._secrets))},
                records=NoApi(),
                objects=S3LandingObjects(objects),
                spool=self._spool,
            ),
        )

    def _validator(self, effects: Effects) -> ValidatorPorts:
        objects = self.objects.seen_by(effects)
        return ValidatorPorts(
            pipelines=self.pipelines,
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
            landed=S3Landed(objects, "validated"),
        )

    def _merger(self, effects: Effects) -> MergerPorts:
        objects, checkpoints = self.objects.seen_by(effects), self.checkpoints.seen_by(effects)
        return MergerPorts(
            pipelines=self.pipelines,
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

    def bronze(self) -> dict[int, Counter[tuple[Version, str]]]:
        """Versions with their hashes, by generation; each part's rows lie in the folder of their event date."""
        generations = {manifest.ingestion_id: manifest.generation for manifest in self._manifests()}
        found: dict[int, Counter[tuple[Version, str]]] = {}
        for key, body in self._stored("processed", "bronze/orders/"):
            for row in pq.read_table(io.BytesIO(body)).to_pylist():
                day = row["placed_on"].isoformat() if row["placed_on"] else "__HIVE_DEFAULT_PARTITION__"
                assert f"/event_date={day}/" in key
                version = (row["id"], row["v"], row["updated_at"])
                found.setdefault(generations[row["_ingestion_id"]], Counter())[version, row["_record_hash"]] += 1
        return found

    def newest_generation(self) -> Counter[tuple[Version, str]]:
        """What readers are to take: the last full load and what came after it."""
        generations = self.bronze()
        return generations[max(generations)] if generations else Counter()

    def mirror(self) -> dict[str, Any]:
        """The document that shows how far the entity is."""
        found = [body for key, body in self._stored("processed", "logs/") if key.endswith("checkpoints.json")]
        return dict(json.loads(found[0])) if found else {}

    def _manifests(self) -> list[LoadManifest]:
        stored = self._stored("state", "loads/")
        return [LoadManifest.model_validate_json(body) for key, body in stored if key.endswith("manifest.json")]

    def _stored(self, bucket: str, prefix: str) -> list[tuple[str, bytes]]:
        holder = self.objects.buckets[bucket]
        current = {key: holder.current(key) for key in sorted(holder.keys) if key.startswith(prefix)}
        return [(key, stored.body) for key, stored in current.items() if stored is not None]
