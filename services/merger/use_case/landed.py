"""Segments of loads as they are validated: the last one of a run publishes it."""

import asyncio
from collections.abc import Sequence

import structlog

from contracts.loads import LandedSegment
from contracts.pipelines import Pipeline
from contracts.runs import RunState
from services.merger.ports import Ports
from services.merger.use_case.commit import reopen_run
from services.merger.use_case.publishing import catch_up, publish
from services.runtime.completion import ENDED
from services.runtime.failures import TemporaryError
from services.runtime.ledger import Run, SegmentEntry, Step

log = structlog.get_logger()

UNPLANNED_DELAY_S = 1.0
"""Seconds until a segment is tried again that was validated before all of its run was dispatched."""
READY = frozenset({Step.VALIDATED, Step.MERGED})


async def take_landed(
    ports: Ports, pipeline: Pipeline, run_id: str, segments: Sequence[tuple[str, LandedSegment]]
) -> None:
    """Enter validated segments of one run, given as (location, segment); publish the run if they were its last.

    Raises:
        TemporaryError: the plan is not complete yet, or another merger is at it.
        CorruptCheckpointError: the state or a landing file is not what it was.
    """
    run = await _run(ports, pipeline, run_id)
    if run.state in ENDED:
        await _too_late(ports, pipeline, run)
        return
    known = {entry.segment_id: entry for entry in await ports.ledger.segments(run_id)}
    await asyncio.gather(*(_enter(ports, at, segment, known.get(segment.segment_id)) for at, segment in segments))
    run = await _run(ports, pipeline, run_id)
    if run.planned is None:
        raise TemporaryError(f"{run_id}: the plan is not complete yet", delay=UNPLANNED_DELAY_S)
    entries = await ports.ledger.segments(run_id)
    waiting = [entry for entry in entries if entry.step not in READY]
    if waiting or len(entries) < run.planned:
        log.info("segments are still under way", run_id=run_id, of=run.planned, waiting=len(waiting))
        return
    await publish(ports, pipeline, run, entries)


async def _run(ports: Ports, pipeline: Pipeline, run_id: str) -> Run:
    """The run; one that the ledger lost is entered again, from its manifest if it has one."""
    run = await ports.ledger.run(run_id)
    if run is None and await catch_up(ports, pipeline, run_id) is not None:
        await reopen_run(ports, pipeline.name, run_id, ports.clock.now().isoformat())
    if run is None:
        run = await ports.ledger.run(run_id)
    if run is None:
        raise TemporaryError(f"{run_id}: the load is being written, and then enters its run again")
    return run


async def _too_late(ports: Ports, pipeline: Pipeline, run: Run) -> None:
    """Nothing of a run that is over is published any more, but what was decided before it failed is carried out.

    Whoever ended it may have died before its watermark moved, or before the group's run ended with it.
    """
    log.info("segments of a run that is over", run_id=run.run_id, state=run.state.value)
    if run.state is RunState.FAILED:
        await catch_up(ports, pipeline, run.run_id)
    await ports.completion.complete(run.run_id, pipeline.watermark)


async def _enter(ports: Ports, location: str, segment: LandedSegment, entry: SegmentEntry | None) -> None:
    if entry is None or entry.fetched is None:
        raw = f"{segment.bucket}/{segment.key}"
        await ports.ledger.segment_fetched(segment.run_id, segment.segment_id, segment.counts.received, raw)
    if entry is None or entry.step not in READY:
        await ports.ledger.segment_validated(segment.run_id, segment.segment_id, segment.counts, location)
