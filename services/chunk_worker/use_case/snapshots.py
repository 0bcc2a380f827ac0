"""Runs and snapshots, as actions need them: one run of a job at a time has the snapshot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from contracts.runs import RunState
from services.chunk_worker.core.ends import RUN_CANCELLED, Dropped
from services.chunk_worker.core.health import hold_back_s
from services.chunk_worker.ports import Ports
from services.chunk_worker.use_case.attempt import foreign_snapshot
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.turns import STANDS_STILL, occupied, silence_allowed
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run

log = structlog.get_logger()

TURN_S = 30.0
"""Seconds until it is asked again whether the job's other run is over, at first."""
UNFINISHED = frozenset({RunState.PLANNING, RunState.RUNNING})


async def present_run(ports: Ports, job: LoadedJob) -> str:
    """The run whose snapshot there is.

    Raises:
        PermanentError: there is none.
    """
    run_id = await ports.databases.of(job).present_run()
    if run_id is None:
        raise PermanentError(f"{job.name} has no snapshot yet: task_01 takes one")
    return run_id


async def known_run(ports: Ports, job: LoadedJob, run_id: str) -> Run:
    """A run of the job.

    Raises:
        PermanentError: there is none of this id.
    """
    run = await ports.ledger.run(run_id)
    if run is None or run.pipeline != job.name:
        raise PermanentError(f"there is no run {run_id} of {job.name}: task_01 opens one")
    return run


def cancelled(run: Run) -> Dropped | None:
    """What there is to say of a run that was cancelled."""
    return Dropped(RUN_CANCELLED, f"run {run.run_id} was cancelled") if run.state is RunState.CANCELLED else None


async def require_snapshot(ports: Ports, job: LoadedJob, run_id: str) -> None:
    """Refuse to go on without the run's own snapshot.

    Raises:
        PermanentError: it is another run's, or there is none.
    """
    present = await ports.databases.of(job).present_run()
    if present != run_id:
        raise PermanentError(foreign_snapshot(present, run_id))


@asynccontextmanager
async def ending_unplanned(ports: Ports, job: LoadedJob, run_id: str) -> AsyncIterator[None]:
    """End a run that cannot be planned as failed: nobody else would, and other runs would wait for it."""
    try:
        yield
    except PermanentError as error:
        run = await ports.ledger.run(run_id)
        if run is not None and run.pipeline == job.name and run.state is RunState.PLANNING:
            await ports.completion.fail(run, str(error))
        raise


async def wait_for_turn(ports: Ports, job: LoadedJob, run_id: str, receives: int) -> None:
    """See to it that a snapshot is not taken from a run that still needs it; a run that seems dead is overtaken.

    Raises:
        TemporaryError: another run of the job is under way.
    """
    present = await ports.databases.of(job).present_run()
    other = None if present in {None, run_id} else await ports.ledger.run(str(present))
    if other is None or other.state not in UNFINISHED:
        return
    entries = await ports.chunks.chunks(other.run_id)
    allowed = silence_allowed(job, timedelta(seconds=ports.overtake_after_s))
    busy = occupied(other, entries, ports.clock.now(), allowed)
    if busy is not None:
        raise TemporaryError(str(busy), delay=max(TURN_S, hold_back_s(receives)))
    log.warning("overtaking a run that stands still", other=other.run_id, run_id=run_id)
    await ports.completion.fail(other, f"overtaken by run {run_id}: {STANDS_STILL.format(allowed.total_seconds())}")
