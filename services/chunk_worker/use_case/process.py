"""One chunk of a run → the chunk done, or a reason why not.

Order of effects: who works on it → claim → update → ledger → the end of the run. The database decides whether the chunk
is done, and refuses whoever is not its newest holder, so each of these may be repeated and any worker may die anywhere.
"""

from types import MappingProxyType

import structlog

from contracts.runs import RunState
from services.chunk_worker.core.admission import Admission, admission
from services.chunk_worker.core.attempts import comes_again, retry_delay_s
from services.chunk_worker.core.ends import CHUNK_FAILED, RUN_CANCELLED, RUN_PAUSED, Dropped, End, Failed
from services.chunk_worker.core.health import hold_back_s, is_limited, over_limit
from services.chunk_worker.core.tasks import Task
from services.chunk_worker.ports import Health, Ports, TableState
from services.chunk_worker.use_case.attempt import foreign_snapshot
from services.chunk_worker.use_case.holding import hold
from services.chunk_worker.use_case.keeping import enter_failed, repeat_done
from services.chunk_worker.use_case.working import work_on
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run
from services.runtime.telemetry import correlated

log = structlog.get_logger()

HEALTHY_FOR_S = 2.0
"""Seconds for which a healthy database is not asked again."""


async def process_chunk(ports: Ports, task: Task) -> End:
    """Bring a chunk to its end, as far as that can be done now.

    Raises:
        TemporaryError: not now, and nobody is to blame; LeaseHeldError if another worker is at it.
        ConflictError, UnreachableError: likewise.
    """
    with correlated(run_id=task.run_id, chunk_id=task.chunk_id, pipeline=task.job.name):
        return await _process(ports, task)


async def _process(ports: Ports, task: Task) -> End:
    run = await ports.ledger.run(task.run_id)
    if run is None or run.pipeline != task.job.name:
        return Failed(f"there is no run {task.run_id} of {task.job.name}")
    entry = await ports.chunks.chunk(task.run_id, task.chunk_id)
    if entry is None:
        return Failed(f"run {task.run_id} has no chunk {task.chunk_id}")
    decided = admission(run.state, entry.state, paused=run.paused)
    if decided is Admission.REPEAT:
        return await repeat_done(ports, task, run, entry)
    if decided in _NOTHING_TO_DO:
        dropped = Dropped(_NOTHING_TO_DO[decided], f"run {run.run_id} {_standing_of(run)}")
        log.info("chunk is not worked on", reason=dropped.reason)
        return dropped
    ended = await _reopen(ports, task, run) if decided is Admission.REOPEN else None
    return ended or await _work(ports, task, entry)


_NOTHING_TO_DO = MappingProxyType(
    {
        Admission.CANCELLED: RUN_CANCELLED,
        Admission.PARKED: RUN_PAUSED,
        Admission.OVER: CHUNK_FAILED,
    }
)
"""What a state machine is told where nothing is done."""


def _standing_of(run: Run) -> str:
    if run.state in {RunState.PLANNING, RunState.RUNNING}:
        return "is paused"
    return f"has ended: {run.state}" + (f", {run.reason}" if run.reason else "")


async def _work(ports: Ports, task: Task, entry: ChunkEntry) -> End:
    try:
        await _check_health(ports, task)
    except PermanentError as error:
        if comes_again(task.receives):
            raise TemporaryError(str(error), delay=retry_delay_s(task.receives)) from error
        return await enter_failed(ports, task, str(error))
    return await hold(ports, task.lease, lambda lease: work_on(ports, task, entry, lease), token=task.token)


async def _reopen(ports: Ports, task: Task, run: Run) -> End | None:
    """Give a failed chunk its attempts back: whoever sends it again wants it tried again.

    The run is opened before the chunk, so that whoever dies in between leaves a failed chunk, which the next one opens.
    """
    if task.token is not None and not await ports.answers.heartbeat(task.token):
        return Dropped(CHUNK_FAILED, f"chunk {task.chunk_id} has failed, and nobody waits for it any more")
    standing = await ports.tables.standing(task.job, task.run_id, task.chunk_id)
    if standing.snapshot_run != task.run_id and standing.state is not TableState.DONE:
        return Failed(foreign_snapshot(standing.snapshot_run, task.run_id))
    await ports.databases.of(task.job).retry(task.run_id, [task.chunk_id])
    if run.state is RunState.FAILED:
        await ports.ledger.reopen_run(task.run_id)
    await ports.chunks.reopen_chunk(task.run_id, task.chunk_id)
    found = await ports.ledger.run(task.run_id)
    if found is not None and found.state is RunState.FAILED:
        # Another chunk found all of them ended before this one was open again; in a failed run it would be dropped.
        await ports.ledger.reopen_run(task.run_id)
    log.info("failed chunk is tried again")
    return None


async def _health(ports: Ports, task: Task) -> Health:
    """How the job's database does, asked again after a while: small chunks would cost twice as much otherwise."""
    now, known = ports.clock.monotonic(), ports.memory.health
    asked_at, health = known.get(task.job.name, (-HEALTHY_FOR_S, None))
    if health is not None and now < asked_at + HEALTHY_FOR_S and over_limit(task.job.job.health, health) is None:
        return health
    health = await ports.tables.health(task.job)
    known[task.job.name] = (now, health)
    return health


async def _check_health(ports: Ports, task: Task) -> None:
    limits = task.job.job.health
    if not is_limited(limits):
        return
    reason = over_limit(limits, await _health(ports, task))
    if reason is not None:
        ports.telemetry.metric("ChunksHeldBack", 1, pipeline=task.job.name)
        raise TemporaryError(f"chunk {task.chunk_id} is held back: {reason}", delay=hold_back_s(task.receives))
