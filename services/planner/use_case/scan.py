"""A run of an object pipeline → a kept plan, a ledger, and dispatched segments.

Order of effects: run → plan object → ledger entries → commands → run started. A planner that dies anywhere is
continued by the redelivery of its request: the plan that was kept first is the plan.
"""

from dataclasses import dataclass

import structlog

from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import Destination, Occurrence, ValidateSegment, scope_of, segment_id_of
from services.planner.core.previews import preview_of_failure, preview_of_occurrences
from services.planner.core.scan import Plan, PlannedSegment, claims_frontier, cut, destination_of
from services.planner.ports import Ports
from services.planner.use_case.listing import Found, find_unsettled
from services.planner.use_case.sweep import VALIDATE_QUEUE, sweep_stranded
from services.runtime.failures import AccessDeniedError, MissingObjectError
from services.runtime.lag import LagMeter
from services.runtime.ledger import Run, ScanCounts
from services.runtime.watermarks import Watermark

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a run has to do, and what its success would move."""

    found: Found
    parts: list[list[Occurrence]]
    frontier: str | None
    watermark: Watermark | None


async def scan(ports: Ports, pipeline: Pipeline, request: PlanRun) -> None:
    """Plan a scan or a replay of occurrences and dispatch it; a dry run is only shown."""
    if request.dry_run:
        await _preview(ports, pipeline, request)
        return
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
        plan = await ports.plans.find(request.run_id) or await _make(ports, pipeline, request, run, destination)
    except (AccessDeniedError, MissingObjectError) as error:
        await ports.completion.fail(run, str(error))
        return
    if plan.started_at != run.started_at:  # the ledger was lost since, and with it what this plan found settled
        log.warning("run was opened anew; its plan proves no frontier any more", run_id=run.run_id)
        plan = plan.model_copy(update={"frontier": None})
    await _dispatch(ports, pipeline, plan)
    if request.mode is RunMode.SCAN:
        await sweep_stranded(ports, pipeline, except_run=request.run_id)


async def _find(ports: Ports, pipeline: Pipeline, request: PlanRun, destination: Destination | None) -> _Finding:
    started = ports.clock.now()
    scope = scope_of(pipeline.name, destination)
    replay = request.mode is RunMode.REPLAY
    # Before anything is listed: what moves the watermark after this point may have changed what counts as settled.
    watermark = await ports.watermarks.read(pipeline.watermark) if destination is None and not replay else None
    if replay:
        found = Found(listed=len(request.occurrences), unsettled=list(request.occurrences))
    else:
        cursor = None if watermark is None else watermark.cursor
        found = await find_unsettled(ports, pipeline, request.payload, scope, cursor)
    source = pipeline.source.bucket or ports.raw_bucket
    covers = not replay and claims_frontier(pipeline, request.payload, source, own_target=destination is None)
    return _Finding(
        found=found,
        parts=cut(found.unsettled, pipeline.limits.objects_per_segment),
        frontier=started.isoformat() if covers and found.is_proven else None,
        watermark=watermark,
    )


async def _make(ports: Ports, pipeline: Pipeline, request: PlanRun, run: Run, destination: Destination | None) -> Plan:
    finding = await _find(ports, pipeline, request, destination)
    found, watermark = finding.found, finding.watermark
    LagMeter(ports.telemetry, ports.clock).report(pipeline.name, None if watermark is None else watermark.cursor)
    since = request.payload.since_timestamp
    segments = []
    for part in finding.parts:
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
            frontier=finding.frontier,
            watermark_version=0 if watermark is None else watermark.version,
            destination=destination,
            since_timestamp=None if since is None else since.isoformat(),
            replay=request.mode is RunMode.REPLAY,
        )
    )


async def _preview(ports: Ports, pipeline: Pipeline, request: PlanRun) -> None:
    destination = destination_of(pipeline, request.payload, ports.target_bucket(pipeline))
    try:
        finding = await _find(ports, pipeline, request, destination)
        preview = preview_of_occurrences(request, finding.parts, finding.frontier)
    except (AccessDeniedError, MissingObjectError) as error:
        preview = preview_of_failure(request, request.mode, str(error))
    await ports.plans.show(preview)


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
    name, metric = pipeline.name, ports.telemetry.metric
    metric("RowsIn", plan.listed, pipeline=name)
    metric("RowsOut", plan.dispatched, pipeline=name)
    metric("Duplicates", plan.settled, pipeline=name)
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
