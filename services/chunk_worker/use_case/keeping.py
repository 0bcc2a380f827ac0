"""Entering what became of a chunk, and ending its run if it was the last one.

Order of effects: the chunk in the ledger → the end of the run. Both may be repeated, so a chunk whose worker died in
between is entered by whoever is handed it next.
"""

import structlog

from contracts.chunks import ChunkOutcome
from contracts.runs import RunState
from services.chunk_worker.core.attempts import ATTEMPTS, retry_delay_s
from services.chunk_worker.core.ends import Done, End, Failed
from services.chunk_worker.core.tasks import Task
from services.chunk_worker.ports import Ports
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run

log = structlog.get_logger()

MS_PER_S = 1_000


async def enter_done(ports: Ports, task: Task, outcome: ChunkOutcome, *, gone: int) -> End:
    """Enter a chunk as done, and end its run if that was the last one."""
    if await ports.chunks.chunk_done(task.run_id, task.chunk_id, outcome, gone=gone):
        name, metric = task.job.name, ports.telemetry.metric
        metric("ChunksDone", 1, pipeline=name)
        metric("RowsIn", outcome.rows + gone, pipeline=name)
        metric("RowsOut", outcome.rows, pipeline=name)
        metric("RowsUpdated", outcome.rows, pipeline=name)
        metric("RowsGone", gone, pipeline=name)
        metric("ChunkTime", outcome.seconds * MS_PER_S, "Milliseconds", pipeline=name)
        if outcome.seconds:
            metric("ChunkRate", outcome.rows / outcome.seconds, "Count/Second", pipeline=name)
    return await _end_run(ports, task, Done(outcome))


async def enter_failed(ports: Ports, task: Task, reason: str) -> End:
    """Enter a chunk as failed, and end its run if that was the last one."""
    log.error("chunk failed", reason=reason)
    if await ports.chunks.chunk_failed(task.run_id, task.chunk_id, reason):
        ports.telemetry.metric("ChunksFailed", 1, pipeline=task.job.name)
    return await _end_run(ports, task, Failed(reason))


async def repeat_done(ports: Ports, task: Task, run: Run, entry: ChunkEntry) -> End:
    """A chunk that the ledger knows as done: only what may have been lost on the way is done again."""
    log.info("chunk was done before", state=run.state)
    ports.telemetry.metric("Duplicates", entry.updated or 0, pipeline=task.job.name)
    end = Done(outcome_of(entry))
    if run.state is RunState.SUCCEEDED and task.receives == 1:
        return end
    return await _end_run(ports, task, end)


def outcome_of(entry: ChunkEntry) -> ChunkOutcome:
    """What became of a chunk, as the ledger has it."""
    return ChunkOutcome(
        chunk_id=entry.chunk_id,
        run_id=entry.run_id,
        rows=entry.updated or 0,
        rows_marked=entry.marked,
        seconds=entry.seconds,
        parts=entry.parts,
    )


async def _end_run(ports: Ports, task: Task, end: End) -> End:
    try:
        await ports.completion.complete(task.job, task.run_id)
    except PermanentError as error:
        if task.receives <= ATTEMPTS:
            raise TemporaryError(f"the run cannot be ended: {error}", delay=retry_delay_s(task.receives)) from error
        run = await ports.ledger.run(task.run_id)
        if run is not None:
            await ports.completion.fail(run, f"every chunk is done, but the run cannot be ended: {error}")
        return Failed(f"the run cannot be ended: {error}")
    return end
