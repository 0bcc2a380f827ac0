"""A run of one entity → a kept plan, a ledger, and slices for the fetchers.

Order of effects: run → schema version → plan object → ledger entries → schema change announced → commands → run
started. A planner that dies anywhere is continued by the redelivery of its request: the plan that was kept first is the
plan. All of it happens under the entity's planning lease; should that run out meanwhile, the open run keeps other
requests away, versions of a schema are created once each, and two loads that overlap after all only read the same rows
twice.
"""

from dataclasses import replace
from uuid import uuid4

import structlog

from contracts.loads import FetchSlice, LoadPlan
from contracts.pipelines import Pipeline
from contracts.plans import PlanPreview
from contracts.runs import PlanRun, RunMode, RunState
from contracts.sources import EntitySource
from contracts.targets import BronzeTarget
from contracts.topology import TOPOLOGY
from services.planner.core.loads import mode_of_load, without_frontier
from services.planner.core.previews import preview_of_failure, preview_of_load
from services.planner.core.window import SPARE_RECEIVES, occupant, snooze_s
from services.planner.ports import Ports
from services.planner.use_case.loading import Load, announce_changes, draft, keep, look_up
from services.planner.use_case.opening import opened
from services.planner.use_case.sweep import RUNS_SWEPT, sweep_stranded
from services.runtime.completion import ENDED
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.lag import LagMeter
from services.runtime.leases import held
from services.runtime.ledger import Collection, Run, ScanCounts

log = structlog.get_logger()

FETCH_QUEUE = "fetch-segments"
CHECKPOINTS = "checkpoints.json"
"""The mirror of a group, under its logs."""
LAST_RECEIVE = TOPOLOGY.queue("plan-requests").max_receives - SPARE_RECEIVES
"""A request that has waited so often for another run fails its own, so that whoever waits for it hears of it."""


async def land(ports: Ports, pipeline: Pipeline, request: PlanRun, *, receives: int) -> None:
    """Plan a load and dispatch it; a dry run is only shown.

    Raises:
        TemporaryError: another run of the entity has not ended, or the source does not answer; ask again.
    """
    load = load_of(ports, pipeline, request)
    if request.dry_run:
        await ports.plans.show(await preview(load, receives=receives))
        return
    tools = load.tools
    async with held(tools.leases, f"plan:{pipeline.name}", f"{tools.owner}/{uuid4().hex}", tools.lease_ttl_s):
        await _plan(load, receives)
    await sweep_stranded(ports, pipeline, except_run=request.run_id)


def load_of(ports: Ports, pipeline: Pipeline, request: PlanRun) -> Load:
    """What a request for one entity asks for.

    Raises:
        BadDeclarationError: this planner lands no entities, or the request is for something that they do not know.
    """
    source, tools = pipeline.source, ports.landing
    if tools is None or not isinstance(source, EntitySource):
        raise BadDeclarationError(f"this planner does not land entities of sources of kind {source.kind!r}")
    if request.mode is RunMode.REPLAY:
        raise BadDeclarationError(f"{pipeline.name}: a load is not replayed; run it again, it reads its source anew")
    return Load(ports, tools, pipeline, source, request)


async def preview(load: Load, *, receives: int) -> PlanPreview:
    """What a load would read, or why there cannot be one.

    Raises:
        TemporaryError: the source does not answer; ask again.
    """
    run = _new_run(load)
    mode = run.mode
    try:
        watermark, load_type = await look_up(load)
        mode = mode_of_load(load_type)
        return preview_of_load((await draft(load, run, watermark, load_type)).plan)
    except PermanentError as error:
        return preview_of_failure(load.request, mode, str(error))
    except TemporaryError as error:
        if receives < load.tools.patience:
            raise
        return preview_of_failure(load.request, mode, str(error))


async def _plan(load: Load, receives: int) -> None:
    ports = load.ports
    run = await ports.ledger.run(load.request.run_id)
    if run is not None and run.state is not RunState.PLANNING:
        await _end_again(load, run)
        return
    tried_before = run is not None
    if run is None:
        run = _new_run(load)
        try:
            await _take_turns(load, receives)
        except TemporaryError as error:
            if receives < LAST_RECEIVE:
                raise
            await ports.completion.fail(await opened(ports, run), f"{error} (asked {receives} times)")
            return
    try:
        plan = await load.tools.plans.find(run.run_id)
        if plan is None:
            watermark, load_type = await look_up(load)
            LagMeter(ports.telemetry, ports.clock).report(run.pipeline, None if watermark is None else watermark.cursor)
            run = await opened(ports, replace(run, mode=mode_of_load(load_type)))
            plan = await keep(load, await draft(load, run, watermark, load_type))
        else:
            run = await opened(ports, replace(run, mode=mode_of_load(plan.load_type)))
    except PermanentError as error:
        await ports.completion.fail(await opened(ports, run), str(error))
        return
    except TemporaryError as error:
        # Waiting for one's turn costs receives, too: only a run that was opened before has been refused before.
        if receives < load.tools.patience or not tried_before:
            raise
        await ports.completion.fail(run, f"{error} (asked {receives} times)")
        return
    if plan.started_at != run.started_at:  # the ledger was lost since; nobody knows what else was lost with it
        log.warning("run was opened anew; its plan proves no frontier any more", run_id=run.run_id)
        plan = without_frontier(plan)
    await _dispatch(load, plan)


async def _end_again(load: Load, run: Run) -> None:
    """Whoever ended the run may have died before all was announced, or before the group's run ended with it."""
    log.info("run is planned already", run_id=run.run_id, state=run.state)
    if run.state is RunState.FAILED:
        await load.ports.completion.fail(run, run.reason or "failed")
    else:
        await load.ports.completion.complete(run.run_id, load.pipeline.watermark)


async def _take_turns(load: Load, receives: int) -> None:
    """Leave the entity to its present run, for as long as that gets on: a full load may take hours.

    Raises:
        TemporaryError: there is one.
    """
    ports, tools, name = load.ports, load.tools, load.pipeline.name
    runs = [run for run in await ports.ledger.runs(limit=RUNS_SWEPT) if run.pipeline == name and run.state not in ENDED]
    lively = [replace(run, started_at=await _last_sign(ports, run)) for run in runs]
    other = occupant(lively, load.request.run_id, name, ports.clock.now(), tools.exclusive_for)
    if other is not None:
        run_id, seconds = other
        raise TemporaryError(f"run {run_id} of {name} has not ended yet", delay=snooze_s(seconds, receives))


async def _last_sign(ports: Ports, run: Run) -> str:
    """When a run last took a step."""
    return max([run.started_at, *(entry.updated_at for entry in await ports.ledger.segments(run.run_id))])


def _new_run(load: Load) -> Run:
    return Run(
        run_id=load.request.run_id,
        pipeline=load.pipeline.name,
        mode=mode_of_load(load.asked),
        state=RunState.PLANNING,
        started_at=load.ports.clock.now().isoformat(),
        destination=load.ports.tree_of(load.pipeline),
        parent=load.request.parent,
    )


async def _dispatch(load: Load, plan: LoadPlan) -> None:
    ports = load.ports
    await ports.ledger.plan_segments(plan.run_id, [(planned.segment_id, 0) for planned in plan.slices])
    await announce_changes(load, plan)
    commands = [
        FetchSlice(
            pipeline=plan.pipeline,
            run_id=plan.run_id,
            segment_id=planned.segment_id,
            run_date=plan.run_date,
            load_type=plan.load_type,
            fields=plan.fields,
            slice=planned.slice,
            expected_rows=planned.expected_rows,
        )
        for planned in plan.slices
    ]
    await ports.publisher.send(FETCH_QUEUE, commands, run_id=plan.run_id)
    ports.telemetry.metric("RowsOut", plan.expected_rows, pipeline=plan.pipeline)
    await ports.ledger.start_run(
        plan.run_id,
        planned=len(plan.slices),
        scan=ScanCounts(),
        frontier=plan.frontier,
        watermark_version=plan.watermark_version,
        collection=Collection(
            start=plan.start,
            end=plan.end,
            expected_rows=plan.expected_rows,
            mirror=_mirror(load),
            entity=load.pipeline.entity,
        ),
    )
    # Nothing to do, or everything was settled before the run counted as started: nobody else would end it.
    await ports.completion.complete(plan.run_id, load.pipeline.watermark)
    log.info("load dispatched", run_id=plan.run_id, segments=len(plan.slices), rows=plan.expected_rows)


def _mirror(load: Load) -> str | None:
    target = load.pipeline.target
    if not isinstance(target, BronzeTarget):
        return None
    return f"{load.ports.target_bucket(load.pipeline)}/{target.logs}{CHECKPOINTS}"
