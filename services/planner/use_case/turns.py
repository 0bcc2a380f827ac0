"""Runs of one chunked job take turns: each exchanges the snapshot that all chunks of the one before it need."""

import structlog

from contracts.runs import RunState
from services.planner.core.window import snooze_s
from services.planner.ports import Chunking, Ports
from services.planner.use_case.sweep import RUNS_SWEPT
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.turns import STANDS_STILL, occupied, silence_allowed
from services.runtime.completion import ENDED
from services.runtime.failures import TemporaryError
from services.runtime.ledger import Run

log = structlog.get_logger()


class OccupiedError(TemporaryError):
    """Another run of the job has not ended."""


async def take_turns(ports: Ports, tools: Chunking, job: LoadedJob, run_id: str, receives: int) -> None:
    """Leave the job to its present run for as long as that gets on; one that stands still is ended as failed.

    Raises:
        OccupiedError: there is one that gets on, or one that an operator holds.
    """
    allowed = silence_allowed(job, tools.exclusive_for)
    others = [run for run in await _runs(ports, tools, job) if run.run_id != run_id and run.state not in ENDED]
    for run in others:
        entries = await tools.planning.chunks.chunks(run.run_id)
        busy = occupied(run, entries, ports.clock.now(), allowed)
        if busy is not None:
            raise OccupiedError(str(busy), delay=snooze_s(busy.seconds, receives))
    overtaken = f"overtaken by run {run_id}: "
    for run in others:
        log.warning("overtaking a run that stands still", other=run.run_id, run_id=run_id)
        reason = overtaken + STANDS_STILL.format(allowed.total_seconds())
        await ports.ledger.finish_run(run.run_id, RunState.FAILED, reason=reason)
    # Only what the ledger says: one may have ended by itself meanwhile, or was overtaken before and never announced.
    for run in await _runs(ports, tools, job):
        if run.reason is not None and run.reason.startswith(overtaken):
            await tools.completion.fail(run, run.reason)


async def _runs(ports: Ports, tools: Chunking, job: LoadedJob) -> list[Run]:
    """The job's newest runs, and the one that has the snapshot, which may have been held for longer than they reach."""
    runs = [run for run in await ports.ledger.runs(limit=RUNS_SWEPT) if run.pipeline == job.name]
    present = await tools.planning.databases.of(job).present_run()
    if present is not None and present not in {run.run_id for run in runs}:
        owner = await ports.ledger.run(present)
        runs += [] if owner is None or owner.pipeline != job.name else [owner]
    return runs
