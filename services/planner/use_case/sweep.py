"""Finding what no event announced: validated segments nobody merged, and days of events that are over."""

from datetime import datetime, timedelta

import structlog

from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import MergeSegment
from services.planner.ports import Ports
from services.runtime.conservation import conserve
from services.runtime.ledger import Run, SegmentEntry, Step

log = structlog.get_logger()

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
        stranded = [s for s in segments if _is_stranded(s, now, ports.stranded_after)]
        if stranded:
            log.warning("announcing stranded segments again", run_id=run.run_id, segments=len(stranded))
            commands = [
                MergeSegment(bucket=s.location.split("/", 1)[0], key=s.location.split("/", 1)[1])
                for s in stranded
                if s.location is not None
            ]
            await ports.publisher.send(MERGE_QUEUE, commands, run_id=run.run_id)
        elif run.mode is RunMode.EVENTS:
            await _close_past_day(ports, run, segments, now)


def _is_stranded(entry: SegmentEntry, now: datetime, after: timedelta) -> bool:
    if entry.step is not Step.VALIDATED or entry.location is None:
        return False
    return now - datetime.fromisoformat(entry.updated_at) >= after


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
