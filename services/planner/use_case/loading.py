"""Making the plan of a load: where its entity stands, what its columns are, how its rows are cut."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import structlog

from contracts.fields import EntityField
from contracts.loads import LoadPlan
from contracts.pipelines import Pipeline
from contracts.runs import LoadType, PlanRun, SchemaChanged
from contracts.sources import EntitySource
from services.planner.core.evolution import change_between
from services.planner.core.loads import key_fields, load_type_of, slices_of, window_of_load
from services.planner.ports import Landing, Ports
from services.runtime.ledger import Run
from services.runtime.schemas import RecordedSchema
from services.runtime.watermarks import Watermark

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Load:
    """A request with everything its plan is made from."""

    ports: Ports
    tools: Landing
    pipeline: Pipeline
    source: EntitySource
    request: PlanRun

    @property
    def asked(self) -> LoadType:
        """What the request asks for, whether or not there is a watermark to go on from."""
        return self.request.load.load_type or self.tools.default_load


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan, and the version of the entity's schema that it would make."""

    plan: LoadPlan
    columns: list[EntityField]
    is_new_schema: bool


async def look_up(load: Load) -> tuple[Watermark | None, LoadType]:
    """Where the entity stands, and what a load of it reads therefore."""
    watermark = await load.ports.watermarks.read(load.pipeline.watermark)
    return watermark, load_type_of(load.asked, watermark)


async def draft(load: Load, run: Run, watermark: Watermark | None, load_type: LoadType) -> Draft:
    """The plan of a load; nothing is written.

    Raises:
        PermanentError: the declaration or the source does not allow it; the text says why.
        TemporaryError: the source does not answer now.
    """
    source, name = load.source, load.pipeline.watermark
    entity = load.tools.entities.of(load.pipeline)
    with load.ports.telemetry.segment("describe"):
        columns = await entity.describe()
    recorded = await load.tools.schemas.latest(name)
    version, is_new = _version(columns, recorded, load_type)
    fields = key_fields(columns, source.key) if load_type is LoadType.KEYS else columns
    now = datetime.fromisoformat(run.started_at).astimezone(UTC)
    window = window_of_load(source, load_type, watermark, await entity.ceiling(now))
    cuts = []
    if not window.is_empty:
        with load.ports.telemetry.segment("cut"):
            cuts = await entity.cut(window.start, window.reads_until, fields, whole=window.whole)
    plan = LoadPlan(
        run_id=run.run_id,
        pipeline=load.pipeline.name,
        load_type=load_type,
        started_at=run.started_at,
        run_date=now.date().isoformat(),
        fields=fields,
        schema_version=version,
        slices=slices_of(window, [(cut.slice, cut.rows) for cut in cuts]),
        start=window.start,
        end=window.end,
        frontier=window.frontier,
        watermark_version=0 if watermark is None else watermark.version,
    )
    return Draft(plan, columns, is_new)


def _version(columns: list[EntityField], recorded: RecordedSchema | None, load_type: LoadType) -> tuple[int, bool]:
    """The version of the schema that a load has, and whether it is the first one that has it."""
    known = 0 if recorded is None else recorded.version
    if load_type is LoadType.KEYS:
        return known, False
    if recorded is None:
        return 1, True
    change = change_between(recorded.fields, columns)
    if load_type is LoadType.INCREMENTAL:
        change.require_compatible()
    return (known + 1, True) if any(change.of_names) else (known, False)


async def keep(load: Load, made: Draft) -> LoadPlan:
    """Record the schema of a load if it is a new one, then keep the plan.

    Raises:
        ConflictError: another run has just recorded a schema; look again.
    """
    if made.is_new_schema:
        await load.tools.schemas.record(
            load.pipeline.watermark, made.columns, version=made.plan.schema_version, run_id=made.plan.run_id
        )
    return await load.tools.plans.keep(made.plan)


async def announce_changes(load: Load, plan: LoadPlan) -> None:
    """Say what is new in the columns that this run was the first to find; a repetition says the same."""
    name = load.pipeline.watermark
    latest = await load.tools.schemas.latest(name)
    if latest is None or latest.run_id != plan.run_id or latest.version == 1:
        return
    history = await load.tools.schemas.history(name)
    for before, found in pairwise(history):
        if found.run_id != plan.run_id:
            continue
        added, widened, dropped = change_between(before.fields, found.fields).of_names
        log.warning("schema changed", version=found.version, added=added, widened=widened, dropped=dropped)
        fact = SchemaChanged(
            pipeline=load.pipeline.name,
            run_id=plan.run_id,
            version=found.version,
            added=added,
            widened=widened,
            dropped=dropped,
        )
        await load.ports.publisher.announce(fact, run_id=plan.run_id)
