"""A planner over fakes with one group of two entities; the services after it reduced to what the ledger hears."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from contracts.envelope import Message, Payload
from contracts.fields import EntityField
from contracts.loads import FetchSlice, LoadPlan
from contracts.pipelines import Pipeline
from contracts.plans import PlanPreview
from contracts.runs import LoadPayload, LoadType, PlanRun
from contracts.segments import SegmentCounts, Settlement
from services.planner.adapters.plans import S3LoadPlans, S3Plans
from services.planner.ports import Landing, Ports
from services.planner.use_case.batch import plan_batch
from services.runtime.completion import Completion
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Run
from services.runtime.mirrors import StateMirrors
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.entities import FakeEntities, FakeTable
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.schemas import FakeEntitySchemas
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks
from tests.property.table_world import Mortal

BUCKETS = {"raw": True, "checkpoints": True, "processed": True, "state": False}
FETCH, PLAN, VALIDATE = "fetch-segments", "plan-requests", "validate-objects"
ORDERS, PAYMENTS = "shop.orders", "shop.payments"
MIRROR = "logs/checkpoints.json"
ID = EntityField(name="id", type="int32", source_type="integer")
CHANGED = EntityField(name="changed", type="timestamp_us_utc", source_type="timestamp with time zone")
NOTE = EntityField(name="note", type="string", source_type="text")


def entity(name: str, **source: Any) -> Pipeline:
    """An entity of the group, in a table unless told otherwise."""
    table = {"kind": "postgres", "system": "rds", "secret": "rds", "table": name, "key": ["id"], "cursor": "changed"}
    return Pipeline.parse(
        {
            "name": f"shop.{name}",
            "entity": name,
            "source": table | source,
            "target": {"kind": "bronze", "prefix": "bronze/", "logs": "logs/"},
        },
        where="shop.toml",
    )


def of_api(name: str, **source: Any) -> Pipeline:
    """An entity of the group, behind an API."""
    fields = {"id": "string", "changed": "timestamp_us_utc"}
    api = {"kind": "rest", "system": "api", "url": "http://shop", "path": f"/{name}", "key": ["id"]}
    document = {
        "name": f"shop.{name}",
        "entity": name,
        "source": api | {"cursor": "changed", "fields": fields} | source,
        "target": {"kind": "bronze", "prefix": "bronze/", "logs": "logs/"},
    }
    return Pipeline.parse(document, where="shop.toml")


@dataclass
class World:
    """One deployment. Everything but the tables is as the services left it."""

    pipelines: list[Pipeline] = field(default_factory=lambda: [entity("orders"), of_api("payments")])
    default_load: LoadType = LoadType.INCREMENTAL
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.tables = {each.name: FakeTable([ID, CHANGED]) for each in self.pipelines}
        self.objects = FakeObjects(BUCKETS, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.schemas = FakeEntitySchemas(self.clock)
        self.leases = LeaseTable()

    @property
    def orders(self) -> FakeTable:
        """The table that most tests look at."""
        return self.tables[ORDERS]

    def planner(self, effects: Effects | None = None) -> Ports:
        """The planner as one process."""
        effects = effects or Effects()
        objects, ledger = self.objects.seen_by(effects), self.ledger.seen_by(effects)
        publisher = self.publisher.seen_by(effects)
        watermarks = FakeWatermarks(self.clock, Mortal(effects))
        watermarks.records = self.watermarks.records
        return Ports(
            pipelines={each.name: each for each in self.pipelines},
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
            telemetry=FakeTelemetry(),
            clock=self.clock,
            landing=Landing(
                entities=FakeEntities(self.tables, effects=effects),
                plans=S3LoadPlans(objects, "state"),
                schemas=self.schemas.seen_by(effects),
                leases=FakeLeases(self.clock, self.leases, Mortal(effects)),
                owner="planner",
                default_load=self.default_load,
                lease_ttl_s=60,
                exclusive_for=timedelta(minutes=15),
            ),
        )

    async def deliver(self, payload: Payload, *, receives: int = 1, effects: Effects | None = None) -> Outcome:
        """Hand a request to a planner."""
        message = Message.wrap(payload, message_id=UUID(int=1), run_id="operator", occurred_at=self.clock.now())
        return await plan_batch(self.planner(effects), [Delivery("d", message.model_dump_json(), receives)])

    async def plan(self, run_id: str, load_type: LoadType | None = None, pipeline: str = ORDERS) -> LoadPlan:
        """Plan a load; its commands wait."""
        outcome = await self.deliver(request(run_id, load_type, pipeline))
        assert not outcome.failed, outcome.reasons
        return self.kept(run_id)

    async def run(self, run_id: str, load_type: LoadType | None = None, pipeline: str = ORDERS) -> LoadPlan:
        """Plan a load and carry it out."""
        plan = await self.plan(run_id, load_type, pipeline)
        await self.work()
        return plan

    async def run_group(self, payload: PlanRun) -> None:
        """Plan a group's run with all its entities, and carry it out."""
        assert not (await self.deliver(payload)).failed
        await self.plan_children()
        await self.work()

    async def plan_children(self) -> None:
        """Plan what waits in the planner's own queue."""
        requests = [PlanRun.model_validate(message.body) for message in self.publisher.commands(PLAN)]
        self.publisher.sent[PLAN].clear()
        for each in requests:
            outcome = await self.deliver(each)
            assert not outcome.failed, outcome.reasons

    async def preview(self, payload: PlanRun) -> PlanPreview:
        """What a dry run shows."""
        outcome = await self.deliver(payload.model_copy(update={"dry_run": True}))
        assert not outcome.failed, outcome.reasons
        return await self.shown(payload.run_id)

    async def shown(self, run_id: str) -> PlanPreview:
        """The preview in the state bucket."""
        return PlanPreview.model_validate_json((await self.objects.get("state", f"plans/{run_id}/preview.json")).body)

    def kept(self, run_id: str) -> LoadPlan:
        """The plan in the state bucket."""
        stored = self.objects.buckets["state"].current(f"plans/{run_id}/plan.json")
        assert stored is not None, f"{run_id} has no plan"
        return LoadPlan.model_validate_json(stored.body)

    def commands(self) -> list[FetchSlice]:
        """What waits for the fetchers, in order."""
        return [FetchSlice.model_validate(message.body) for message in self.publisher.commands(FETCH)]

    async def work(self) -> None:
        """Carry out everything that waits, each segment with as many rows as were expected."""
        commands = {command.dedup_id(): command for command in self.commands()}
        self.publisher.sent[FETCH].clear()
        for command in commands.values():
            await self.carry_out(command)

    async def carry_out(self, command: FetchSlice) -> None:
        """One segment, to its end."""
        run_id, segment_id, rows = command.run_id, command.segment_id, command.expected_rows
        await self.ledger.segment_fetched(run_id, segment_id, rows, f"raw/{segment_id}.land")
        counts = SegmentCounts(received=rows, rows=rows)
        await self.ledger.segment_validated(run_id, segment_id, counts, f"validated/{segment_id}.json")
        settled = Settlement(merged=rows)
        await self.ledger.segment_merged(
            run_id, segment_id, settled, location=f"validated/{segment_id}.json", version=1
        )
        pipeline = next(each for each in self.pipelines if each.name == command.pipeline)
        await self.planner().completion.complete(run_id, pipeline.watermark)

    def cursor(self, name: str = "orders") -> str | None:
        """How far an entity's watermark is."""
        standing = self.watermarks.records.get(f"shop.{name}#{name}")
        return None if standing is None else standing.cursor

    def ended(self, run_id: str) -> Run:
        """A run of the ledger."""
        return self.ledger.table.runs[run_id]

    def facts(self, kind: str) -> list[dict[str, Any]]:
        """What was announced of one kind, each once."""
        found = {message.dedup_id: message.body for message in self.publisher.announced() if message.kind == kind}
        return list(found.values())

    def mirror(self) -> dict[str, Any]:
        """What the group's mirror shows; empty where there is none."""
        stored = self.objects.buckets["processed"].current(MIRROR)
        found: dict[str, Any] = {} if stored is None else json.loads(stored.body)
        return found


def request(run_id: str, load_type: LoadType | None = None, pipeline: str = ORDERS, **more: Any) -> PlanRun:
    """A request for a run of an entity or of the group."""
    return PlanRun(pipeline=pipeline, run_id=run_id, load=LoadPayload(load_type=load_type), **more)
