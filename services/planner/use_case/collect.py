"""A run of a collected pipeline → a kept plan, a ledger, and ranges for the fetchers.

Order of effects: run → watermarks reset (where the pipeline starts over) → plan object → ledger entries → commands →
run started. A planner that dies anywhere is continued by the redelivery of its request: the plan that was kept first
is the plan. All of it happens under the pipeline's planning lease. Should that run out meanwhile, the open run keeps
other requests away; and two runs that overlap after all only read the same rows twice.
"""

from dataclasses import replace
from uuid import uuid4

import structlog

from contracts.fetching import FetchSegment
from contracts.pipelines import Pipeline
from contracts.plans import CollectPlan
from contracts.runs import PlanRun, RunMode, RunState
from contracts.sources import SocrataSource
from services.planner.core.previews import preview_of_failure, preview_of_plan
from services.planner.core.window import mode_of, occupant, snooze_s
from services.planner.ports import Ports
from services.planner.use_case.drafting import Task, draft, look_up, start_over
from services.planner.use_case.opening import opened
from services.planner.use_case.sweep import RUNS_SWEPT, sweep_stranded
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.lag import LagMeter
from services.runtime.leases import held
from services.runtime.ledger import Collection, Run, ScanCounts

log = structlog.get_logger()

FETCH_QUEUE = "fetch-segments"


async def collect(ports: Ports, pipeline: Pipeline, request: PlanRun, *, receives: int) -> None:
    """Plan a collecting run and dispatch it; a dry run is only shown.

    Raises:
        TemporaryError: another run of the pipeline has not ended, or the source does not answer; ask again.
    """
    source, tools = pipeline.source, ports.collecting
    if tools is None or not isinstance(source, SocrataSource):
        raise BadDeclarationError(f"this planner does not collect from sources of kind {source.kind!r}")
    task = Task(ports, tools, pipeline, source, request)
    if request.dry_run:
        await _preview(task)
        return
    async with held(tools.leases, f"plan:{pipeline.name}", f"{tools.owner}/{uuid4().hex}", tools.lease_ttl_s):
        await _plan(task, receives)
    await sweep_stranded(ports, pipeline, except_run=request.run_id)


async def _plan(task: Task, receives: int) -> None:
    ports = task.ports
    run = await ports.ledger.run(task.request.run_id)
    if run is not None and run.state is not RunState.PLANNING:
        await _end_again(task, run)
        return
    if run is None:
        await _take_turns(task, receives)
        run = _new_run(task)
    try:
        plan = await task.tools.plans.find(run.run_id)
        if plan is None:
            standing = await look_up(task)
            LagMeter(ports.telemetry, ports.clock).report(run.pipeline, standing.cursor)
            mode = mode_of(task.source, task.request.collect, standing.cursor)
            run = await opened(ports, replace(run, mode=mode))
            plan = await draft(task, run, await start_over(task, run, standing))
            plan = await task.tools.plans.keep(plan)
        else:
            run = await opened(ports, replace(run, mode=plan.mode))
    except PermanentError as error:
        await ports.completion.fail(await opened(ports, run), str(error))
        return
    if plan.started_at != run.started_at:  # the ledger was lost since; nobody knows what else was lost with it
        log.warning("run was opened anew; its plan proves no frontier any more", run_id=run.run_id)
        plan = plan.model_copy(update={"frontier": None})
    await _dispatch(task, plan)


async def _end_again(task: Task, run: Run) -> None:
    """Whoever planned the run may have died before it was ended, or before its failure was announced."""
    log.info("run is planned already", run_id=run.run_id, state=run.state)
    if run.state is RunState.FAILED and run.planned is None:
        await task.ports.completion.fail(run, run.reason or "not planned")
    else:
        await task.ports.completion.complete(run.run_id, task.pipeline.watermark)


async def _take_turns(task: Task, receives: int) -> None:
    """Leave the source to the pipeline's present run.

    Raises:
        TemporaryError: there is one.
    """
    ports, tools, name = task.ports, task.tools, task.pipeline.name
    runs = await ports.ledger.runs(limit=RUNS_SWEPT)
    other = occupant(runs, task.request.run_id, name, ports.clock.now(), tools.exclusive_for)
    if other is not None:
        run_id, seconds = other
        raise TemporaryError(f"run {run_id} of {name} has not ended yet", delay=snooze_s(seconds, receives))


def _new_run(task: Task) -> Run:
    request = task.request
    return Run(
        run_id=request.run_id,
        pipeline=task.pipeline.name,
        mode=RunMode.INITIAL if request.collect.force_initial_load else RunMode.INCREMENTAL,
        state=RunState.PLANNING,
        started_at=task.ports.clock.now().isoformat(),
        destination=task.ports.tree_of(task.pipeline),
    )


async def _preview(task: Task) -> None:
    run = _new_run(task)
    try:
        plan = await draft(task, run, await look_up(task))
        preview = preview_of_plan(plan, task.source.batch_size)
    except PermanentError as error:
        preview = preview_of_failure(task.request, run.mode, str(error))
    await task.ports.plans.show(preview)


async def _dispatch(task: Task, plan: CollectPlan) -> None:
    ports = task.ports
    await ports.ledger.plan_segments(plan.run_id, [(segment.segment_id, 0) for segment in plan.segments])
    commands = [
        FetchSegment(
            pipeline=plan.pipeline,
            run_id=plan.run_id,
            segment_id=segment.segment_id,
            run_date=plan.run_date,
            range=segment.range,
            expected_rows=segment.expected_rows,
        )
        for segment in plan.segments
    ]
    await ports.publisher.send(FETCH_QUEUE, commands, run_id=plan.run_id)
    ports.telemetry.metric("RowsOut", plan.expected_rows, pipeline=plan.pipeline)
    if plan.limit is not None:
        log.warning("limit reached; the next run goes on there", max_records=plan.limit, end=plan.end)
        ports.telemetry.metric("LimitReached", 1, pipeline=plan.pipeline)
    await ports.ledger.start_run(
        plan.run_id,
        planned=len(plan.segments),
        scan=ScanCounts(),
        frontier=plan.frontier,
        watermark_version=plan.watermark_version,
        collection=Collection(
            start=plan.start,
            end=plan.end,
            complete_until=plan.complete_until,
            limit=plan.limit,
            expected_rows=plan.expected_rows,
            mirror=plan.mirror,
            resume=plan.resume,
            resume_version=plan.resume_version,
        ),
    )
    # Nothing to do, or everything was settled before the run counted as started: nobody else would end it.
    await ports.completion.complete(plan.run_id, task.pipeline.watermark)
    log.info("run dispatched", run_id=plan.run_id, segments=len(plan.segments), rows=plan.expected_rows)
