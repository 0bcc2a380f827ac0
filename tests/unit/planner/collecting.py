"""A planner over fakes with one collected pipeline, and fetcher, validator and merger reduced to a set of keys."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from contracts.envelope import Message, Payload
from contracts.fetching import FetchSegment, KeyRange
from contracts.pipelines import Pipeline
from contracts.plans import CollectPlan, PlanPreview
from contracts.runs import CollectPayload, PlanRun, RunMode
from contracts.segments import SegmentCounts, Settlement
from contracts.sources import SocrataSource
from services.planner.adapters.plans import S3CollectPlans, S3Plans
from services.planner.ports import Collecting, Ports
from services.planner.use_case.batch import plan_batch
from services.runtime.completion import Completion
from services.runtime.datasets import position_of
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Run
from services.runtime.mirrors import StateMirrors
from services.runtime.watermarks import Watermark
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.datasets import FakeDataset, FakeDatasets
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.network import Network, ScriptedNetwork
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks

BUCKETS = {"raw": True, "checkpoints": True, "processed": True, "state": False}
MIRROR = "pipeline_state/last_run_timestamp.json"
W, PLACE = "requests#request", "requests#request/forced"
FETCH, VALIDATE, MERGE = "fetch-segments", "validate-objects", "merge-segments"


def collected(**source: Any) -> Pipeline:
    """A pipeline with this source; what is not given is small."""
    small = {"lag_hours": 48, "initial_lookback_days": 30, "max_records": 1_000, "batch_size": 10, "segment_rows": 10}
    document = {
        "name": "requests",
        "entity": "request",
        "columns": {"key": {"type": "string", "required": True}, "created": {"type": "timestamp_us", "required": True}},
        "source": {"kind": "socrata", "dataset": "abcd-1234", "cursor": "created", "unique_key": "key"}
        | small
        | source,
        "target": {
            "kind": "partitions",
            "key": "processed/month={created:%m}/data_{run_date}.parquet",
            "order_by": "created",
            "state_mirror": MIRROR,
        },
    }
    return Pipeline.parse(document, where="requests.toml")


def row(created: str, key: object) -> dict[str, Any]:
    """A row of the source; ``created`` may be short: 2025-12-31T10 is ten o'clock."""
    whole = created + "0000-01-01T00:00:00.000"[len(created) :]
    return {"created": whole, "key": str(key)}


@dataclass
class World:
    """One deployment. Everything but ``rows`` is as the services left it."""

    pipeline: Pipeline = field(default_factory=collected)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        source = self.pipeline.source
        assert isinstance(source, SocrataSource)
        self.source = source
        self.dataset = FakeDataset(source)
        self.objects = FakeObjects(BUCKETS, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.telemetry = FakeTelemetry()
        self.leases = LeaseTable()
        self.merged: set[str] = set()
        self.seen: set[str] = set()
        self.runs = 0

    def planner(self, network: Network | None = None) -> Ports:
        """The planner as one process, over its own network."""
        network = network or ScriptedNetwork()
        effects = Effects(network=network)
        objects, ledger = self.objects.seen_by(effects), self.ledger.seen_by(effects)
        publisher = self.publisher.seen_by(effects)
        watermarks = FakeWatermarks(self.clock, network)
        watermarks.records = self.watermarks.records
        return Ports(
            pipelines={self.pipeline.name: self.pipeline},
            raw_bucket="raw",
            checkpoints_bucket="checkpoints",
            processed_bucket="processed",
            objects=objects,
            plans=S3Plans(objects, "state"),
            occurrences=FakeOccurrences(),
            checkpoints=FakeCheckpoints(),
            ledger=ledger,
            watermarks=watermarks,
            publisher=publisher,
            completion=Completion(ledger, watermarks, publisher, StateMirrors(objects, self.clock)),
            telemetry=self.telemetry,
            clock=self.clock,
            collecting=Collecting(
                datasets=FakeDatasets({self.pipeline.name: self.dataset.seen_by(effects)}),
                plans=S3CollectPlans(objects, "state"),
                leases=FakeLeases(self.clock, self.leases, network),
                owner="planner",
                lease_ttl_s=60,
                exclusive_for=timedelta(minutes=15),
            ),
        )

    async def deliver(self, payload: Payload, *, receives: int = 1, network: Network | None = None) -> Outcome:
        """Hand a request to a planner."""
        message = Message.wrap(payload, message_id=UUID(int=1), run_id="operator", occurred_at=self.clock.now())
        return await plan_batch(self.planner(network), [Delivery("d", message.model_dump_json(), receives)])

    def request(self, run_id: str | None = None, **collect: Any) -> PlanRun:
        """A request with this payload."""
        self.runs += 1
        return PlanRun(pipeline=self.pipeline.name, run_id=run_id or f"r{self.runs}", collect=CollectPayload(**collect))

    async def plan(self, run_id: str | None = None, **collect: Any) -> CollectPlan:
        """Plan a run; its commands wait."""
        request = self.request(run_id, **collect)
        outcome = await self.deliver(request)
        assert not outcome.failed, outcome.reasons
        return self.kept(request.run_id)

    async def run(self, run_id: str | None = None, **collect: Any) -> CollectPlan:
        """Plan a run and carry it out."""
        plan = await self.plan(run_id, **collect)
        await self.work()
        return plan

    async def preview(self, mode: RunMode = RunMode.SCAN, **collect: Any) -> PlanPreview:
        """What a dry run shows."""
        request = self.request(**collect).model_copy(update={"dry_run": True, "mode": mode})
        outcome = await self.deliver(request)
        assert not outcome.failed, outcome.reasons
        stored = await self.objects.get("state", f"plans/{request.run_id}/preview.json")
        return PlanPreview.model_validate_json(stored.body)

    def kept(self, run_id: str) -> CollectPlan:
        """The plan in the state bucket."""
        stored = self.objects.buckets["state"].current(f"plans/{run_id}/plan.json")
        assert stored is not None, f"{run_id} has no plan"
        return CollectPlan.model_validate_json(stored.body)

    def commands(self) -> list[FetchSegment]:
        """What waits for the fetchers, in order."""
        return [FetchSegment.model_validate(message.body) for message in self.publisher.commands(FETCH)]

    async def work(self) -> None:
        """Fetch, validate and merge everything that waits, from the source as it is now."""
        commands = self.commands()
        self.publisher.sent[FETCH].clear()
        for command in commands:
            await self.carry_out(command)

    async def carry_out(self, command: FetchSegment) -> None:
        """One segment, to its end."""
        ledger, run_id, segment_id = self.ledger, command.run_id, command.segment_id
        keys = await self.read(command.range)
        new = set(keys) - self.merged
        self.merged |= new
        self.seen |= set(keys)
        await ledger.segment_fetched(run_id, segment_id, len(keys), f"raw/{segment_id}")
        counts = SegmentCounts(received=len(keys), rows=len(keys))
        await ledger.segment_validated(run_id, segment_id, counts, f"validated/{segment_id}")
        settlement = Settlement(merged=len(new), row_duplicates=len(keys) - len(new))
        await ledger.segment_merged(run_id, segment_id, settlement, location=f"validated/{segment_id}", version=1)
        await self.planner().completion.complete(run_id, W)

    async def read(self, within: KeyRange) -> list[str]:
        """The keys of a range, as a fetcher reads it."""
        keys: list[str] = []
        after = None
        while (block := await self.dataset.page(within, after, self.source.batch_size)).rows:
            positions = [position_of(line, self.source) for line in block.lines.splitlines()]
            keys += [position.key for position in positions]
            after = positions[-1]
        return keys

    def watermark(self, name: str = W) -> Watermark | None:
        """A watermark as it stands."""
        return self.watermarks.records.get(name)

    def cursor(self, name: str = W) -> str | None:
        """How far a watermark is; None where there is none, too."""
        standing = self.watermark(name)
        return None if standing is None else standing.cursor

    def mirror(self) -> dict[str, Any]:
        """What the state mirror shows; empty where there is none."""
        stored = self.objects.buckets["processed"].current(MIRROR)
        found: dict[str, Any] = {} if stored is None else json.loads(stored.body)
        return found

    def ended(self, run_id: str) -> Run:
        """A run of the ledger."""
        return self.ledger.table.runs[run_id]

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """What was announced of one kind, each once."""
        found = {message.dedup_id: message.body for message in self.publisher.announced() if message.kind == kind}
        return list(found.values())

    def publish(self, created: str, keys: Iterable[object]) -> None:
        """Rows of one cursor appear in the source."""
        self.dataset.publish(*(row(created, key) for key in keys))
