"""One plan request → a kept plan, a ledger, and dispatched segments.

Order of effects: run → plan object → ledger entries → commands → run started. A planner that dies anywhere is
continued by the redelivery of its request: the plan that was kept first is the plan.
"""

import structlog

from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import ValidateSegment, scope_of, segment_id_of
from services.planner.core import (
    Plan,
    PlannedSegment,
    claims_frontier,
    cut,
    destination_of,
)
from services.planner.ports import Ports
from services.planner.use_case.scan import Found, scan
from services.planner.use_case.sweep import sweep_stranded
from services.runtime.failures import AccessDeniedError, BadDeclarationError, MissingObjectError
from services.runtime.ledger import Run, ScanCounts

log = structlog.get_logger()

VALIDATE_QUEUE = "validate-objects"


async def plan_run(ports: Ports, request: PlanRun) -> None:
    """Plan a run and dispatch it; a request that was carried out before changes nothing.

    Raises:
        BadDeclarationError: there is no such pipeline.
    """
    pipeline = ports.pipelines.get(request.pipeline)
    if pipeline is None:
        raise BadDeclarationError(f"there is no pipeline {request.pipeline!r}; there are {sorted(ports.pipelines)}")
    destination = destination_of(pipeline, request.payload, ports.target_bucket(pipeline))
    run = Run(
        run_id=request.run_id,
        pipeline=pipeline.name,
        mode=request.mode,
        state=RunState.PLANNING,
        started_at=ports.clock.now().isoformat(),
        destination=(f"s3://{ports.target_bucket(pipeline)}/{pipeline.target.key}")
        if destination is None
        else destination.uri,
    )
    if not await ports.ledger.open_run(run):
        existing = await ports.ledger.run(request.run_id)
        if existing is not None and existing.state is not RunState.PLANNING:
            log.info("run is planned already", run_id=request.run_id, state=existing.state)
            # A planner that died right after the start of an empty run left nobody else to end it.
            await ports.completion.complete(request.run_id, pipeline.watermark)
            return
        run = run if existing is None else existing
    try:
        plan = await ports.plans.find(request.run_id) or await _make(ports, pipeline, request, run)
    except (AccessDeniedError, MissingObjectError) as error:
        await ports.completion.fail(run, str(error))
        return
    if plan.started_at != run.started_at:  # the ledger was lost since, and with it what this plan found settled
        log.warning("run was opened anew; its plan proves no frontier any more", run_id=run.run_id)
        plan = plan.model_copy(update={"frontier": None})
    await _dispatch(ports, pipeline, plan)
    if request.mode is RunMode.SCAN:
        await sweep_stranded(ports, pipeline, except_run=request.run_id)


async def _make(ports: Ports, pipeline: Pipeline, request: PlanRun, run: Run) -> Plan:
    started = ports.clock.now()
    destination = destination_of(pipeline, request.payload, ports.target_bucket(pipeline))
    scope = scope_of(pipeline.name, destination)
    replay = request.mode is RunMode.REPLAY
    # Before anything is listed: what moves the watermark after this point may have changed what counts as settled.
    watermark = await ports.watermarks.read(pipeline.watermark) if destination is None and not replay else None
    if replay:
        found = Found(listed=len(request.occurrences), unsettled=list(request.occurrences))
    else:
        found = await scan(ports, pipeline, request.payload, scope, None if watermark is None else watermark.cursor)
    source = pipeline.source.bucket or ports.raw_bucket
    covers = not replay and claims_frontier(pipeline, request.payload, source, own_target=destination is None)
    since = request.payload.since_timestamp
    segments = []
    for part in cut(found.unsettled, pipeline.limits.objects_per_segment):
        name = segment_id_of(part)
        claim = await ports.plans.check_in(request.run_id, name, part)
        segments.append(PlannedSegment(segment_id=name, occurrences=len(part), claim=claim))
    return await ports.plans.keep(
        Plan(
            run_id=request.run_id,
            pipeline=pipeline.name,
            started_at=run.started_at,
            segments=segments,
            listed=found.listed,
            ignored=found.ignored,
            settled=found.settled,
            frontier=started.isoformat() if covers and found.is_proven else None,
            watermark_version=0 if watermark is None else watermark.version,
            destination=destination,
            since_timestamp=None if since is None else since.isoformat(),
            replay=replay,
        )
    )


async def _dispatch(ports: Ports, pipeline: Pipeline, plan: Plan) -> None:
    await ports.ledger.plan_segments(plan.run_id, [(s.segment_id, s.occurrences) for s in plan.segments])
    commands = [
        ValidateSegment(
            pipeline=plan.pipeline,
            run_id=plan.run_id,
            segment_id=segment.segment_id,
            destination=plan.destination,
            occurrences=segment.claim,
            since_timestamp=plan.since_timestamp,
            replay=plan.replay,
        )
        for segment in plan.segments
    ]
    await ports.publisher.send(VALIDATE_QUEUE, commands, run_id=plan.run_id)
    counts = ScanCounts(listed=plan.listed, dispatched=plan.dispatched, ignored=plan.ignored, settled=plan.settled)
    await ports.ledger.start_run(
        plan.run_id,
        planned=len(plan.segments),
        scan=counts,
        frontier=plan.frontier,
        watermark_version=plan.watermark_version,
    )
    # Nothing to do, or everything was settled before the run counted as started: nobody else would end it.
    await ports.completion.complete(plan.run_id, pipeline.watermark)
    log.info("run dispatched", run_id=plan.run_id, segments=len(plan.segments), occurrences=plan.dispatched)
