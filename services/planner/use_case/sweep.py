"""Finding what no event announced: segments that wait for their next step, and days of events that are over."""

from datetime import datetime, timedelta

import structlog

from contracts.fetching import ValidateFetched
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import MergeSegment
from services.planner.ports import Ports
from services.runtime.conservation import conserve
from services.runtime.ledger import Run, SegmentEntry, Step

log = structlog.get_logger()

VALIDATE_QUEUE = "validate-objects"
MERGE_QUEUE = "merge-segments"
DAY_OVER_AFTER = timedelta(hours=25)
"""A day's run of events is closed this long after it began."""
RUNS_SWEPT = 200


async def sweep_stranded(ports: Ports, pipeline: Pipeline, *, except_run: str) -> None:
    """Announce stranded segments of unfinished runs again, and close the events runs of past days."""
    now = ports.clock.now()
    for run in await ports.ledger.runs(limit=RUNS_SWEPT):
        open_ = run.pipeline == pipeline.name and run.state in {RunState.PLANNING, RunState.RUNNING}
        if not open_ or run.run_id == except_run:
            continue
        segments = await ports.ledger.segments(run.run_id)
        waiting = [s for s in segments if _waits_too_long(s, now, ports.stranded_after)]
        fetched = [_validation(run, s, s.raw_location) for s in waiting if s.step is Step.FETCHED and s.raw_location]
        validated = [_merge(s.location) for s in waiting if s.step is Step.VALIDATED and s.location]
        if fetched or validated:
            stranded = len(fetched) + len(validated)
            log.warning("announcing stranded segments again", run_id=run.run_id, segments=stranded)
            await ports.publisher.send(VALIDATE_QUEUE, fetched, run_id=run.run_id)
            await ports.publisher.send(MERGE_QUEUE, validated, run_id=run.run_id)
        elif run.mode is RunMode.EVENTS:
            await _close_past_day(ports, run, segments, now)


def _waits_too_long(entry: SegmentEntry, now: datetime, after: timedelta) -> bool:
    """Whether a segment has lain in its bucket too long for whoever takes it from there."""
    lies_in_a_bucket = entry.step in {Step.FETCHED, Step.VALIDATED}
    return lies_in_a_bucket and now - datetime.fromisoformat(entry.updated_at) >= after


def _validation(run: Run, entry: SegmentEntry, location: str) -> ValidateFetched:
    bucket, _, key = location.partition("/")
    return ValidateFetched(
        pipeline=run.pipeline,
        run_id=run.run_id,
        segment_id=entry.segment_id,
        bucket=bucket,
        key=key,
        replay=run.mode is RunMode.REPLAY,
    )


def _merge(location: str) -> MergeSegment:
    bucket, _, key = location.partition("/")
    return MergeSegment(bucket=bucket, key=key)


async def _close_past_day(ports: Ports, run: Run, segments: list[SegmentEntry], now: datetime) -> None:
    """An events run is over when its day is and everything of it is merged."""
    if now - datetime.fromisoformat(run.started_at) < DAY_OVER_AFTER:
        return
    table = conserve(run, segments)
    if table.pending_segments:
        return
    if table.balanced:
        await ports.ledger.finish_run(run.run_id, RunState.SUCCEEDED)
    else:
        await ports.completion.fail(run, "ledger does not balance: " + "; ".join(table.problems))
