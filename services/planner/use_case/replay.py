"""A replay of a collected pipeline: its raw objects are judged again, each as a segment of its own.

The request itself says all there is to do, so no plan is kept. Nothing of the source is read: no frontier moves.
"""

import structlog

from contracts.fetching import ValidateFetched
from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunState
from contracts.segments import segment_id_of
from services.planner.core.previews import preview_of_occurrences
from services.planner.ports import Ports
from services.planner.use_case.sweep import VALIDATE_QUEUE
from services.runtime.ledger import Run, ScanCounts

log = structlog.get_logger()


async def replay_fetched(ports: Ports, pipeline: Pipeline, request: PlanRun) -> None:
    """Dispatch the raw objects of a request; a dry run is only shown."""
    occurrences = list({each.id: each for each in request.occurrences}.values())
    if request.dry_run:
        await ports.plans.show(preview_of_occurrences(request, [[each] for each in occurrences], None))
        return
    run = Run(
        run_id=request.run_id,
        pipeline=pipeline.name,
        mode=request.mode,
        state=RunState.PLANNING,
        started_at=ports.clock.now().isoformat(),
        destination=ports.tree_of(pipeline),
    )
    if not await ports.ledger.open_run(run):
        existing = await ports.ledger.run(request.run_id)
        if existing is not None and existing.state is not RunState.PLANNING:
            log.info("run is planned already", run_id=request.run_id, state=existing.state)
            await ports.completion.complete(request.run_id, pipeline.watermark)
            return
    segments = [(segment_id_of([each]), each) for each in occurrences]
    await ports.ledger.plan_segments(request.run_id, [(segment_id, 0) for segment_id, _ in segments])
    commands = [
        ValidateFetched(
            pipeline=pipeline.name,
            run_id=request.run_id,
            segment_id=segment_id,
            bucket=each.bucket,
            key=each.key,
            replay=True,
        )
        for segment_id, each in segments
    ]
    await ports.publisher.send(VALIDATE_QUEUE, commands, run_id=request.run_id)
    ports.telemetry.metric("ObjectsReplayed", len(commands), pipeline=pipeline.name)
    counts = ScanCounts(listed=len(segments), dispatched=len(segments))
    await ports.ledger.start_run(request.run_id, planned=len(segments), scan=counts, frontier=None)
    await ports.completion.complete(request.run_id, pipeline.watermark)
    log.info("replay dispatched", run_id=request.run_id, segments=len(segments))
