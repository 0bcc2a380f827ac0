"""A run of a chunked job → a snapshot, a kept plan, both ledgers, and commands for the chunk workers.

Order of effects: runs that stand still are overtaken → run → snapshot → plan → ledgers → commands → run started. A
planner that dies anywhere is continued by the redelivery of its request. All of it happens under the job's planning
lease; should that run out meanwhile, the database still exchanges the snapshot for one run at a time, and refuses
chunks of every other.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import structlog

from contracts.chunks import PlannedChunk, ProcessChunk
from contracts.plans import PlanPreview
from contracts.runs import PlanRun, RunMode, RunState
from services.planner.core.previews import preview_of_chunks, preview_of_failure
from services.planner.ports import Chunking, Ports
from services.planner.use_case.land import LAST_RECEIVE
from services.planner.use_case.turns import OccupiedError, take_turns
from services.runtime.chunking.balance import balanced
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.planning import warnings_of
from services.runtime.chunking.ports import KeyRows, Window
from services.runtime.chunking.window import sizes_of, window_of
from services.runtime.completion import ENDED
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.leases import held
from services.runtime.ledger import Run

log = structlog.get_logger()

CHUNK_QUEUE = "chunk-jobs"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, with all that it takes to carry it out."""

    ports: Ports
    tools: Chunking
    job: LoadedJob
    request: PlanRun

    @property
    def run_id(self) -> str:
        return self.request.run_id


async def plan_chunked(ports: Ports, tools: Chunking, job: LoadedJob, request: PlanRun, *, receives: int) -> None:
    """Plan a run and dispatch its chunks, or let it go on where it stopped; a dry run is only shown.

    A run that failed goes on with whatever asks for it, one that was paused or cancelled only with ``resume``.

    Raises:
        BadDeclarationError: the run is another pipeline's, or the request is for a replay.
        TemporaryError: another run of the job has not ended, or the database does not answer; ask again.
    """
    if request.mode is RunMode.REPLAY:
        raise BadDeclarationError(f"{job.name}: a chunked job is not replayed; run it again, it takes a new snapshot")
    asked = _Asked(ports, tools, job, request)
    if request.dry_run:
        await ports.plans.show(await _preview(asked, receives))
        return
    async with held(tools.leases, f"plan:{job.name}", f"{tools.owner}/{uuid4().hex}", tools.lease_ttl_s):
        await _plan(asked, receives)


async def _plan(asked: _Asked, receives: int) -> None:
    run = await asked.ports.ledger.run(asked.run_id)
    if run is not None and run.pipeline != asked.job.name:
        raise BadDeclarationError(f"run {run.run_id} is not one of {asked.job.name}, but one of {run.pipeline}")
    if run is not None and run.state is RunState.SUCCEEDED:
        await _end_again(asked, run)
        return
    if run is not None and run.state is RunState.CANCELLED and not asked.request.resume:
        log.info("run stays cancelled: nobody asked to resume it", run_id=run.run_id)
        return
    try:
        await _carry_out(asked, run, receives)
    except PermanentError as error:
        await _fail(asked, str(error))
    except TemporaryError as error:
        # Waiting for one's turn costs receives, too: only a run that was opened before has been refused before.
        is_new = run is None or isinstance(error, OccupiedError)
        if receives < (LAST_RECEIVE if is_new else asked.tools.patience):
            raise
        await _fail(asked, f"{error} (asked {receives} times)")


async def _carry_out(asked: _Asked, run: Run | None, receives: int) -> None:
    resume, planning = asked.request.resume, asked.tools.planning
    # Whoever let it go on may have died before all was dispatched; then this is the same message once more.
    if run is not None and run.state is RunState.RUNNING and not resume and receives == 1:
        await _end_again(asked, run)
        return
    if run is not None and run.state is RunState.PLANNING and run.paused and resume:
        await asked.ports.ledger.pause_run(run.run_id, paused=False)
        log.info("run is being planned: its own request goes on with it", run_id=run.run_id)
        return
    if await planning.plans.find(asked.run_id) is not None:
        await _check_snapshot(asked)
    if run is None or run.state is not RunState.RUNNING:
        await take_turns(asked.ports, asked.tools, asked.job, asked.run_id, receives)
    run = await _opened(asked, run)
    if run.planned is not None:
        await _dispatch(asked)
    else:
        await planning.prepare(asked.job, run.run_id, asked.request.chunk)
        await planning.plan(asked.job, run.run_id, asked.request.chunk, dispatch=partial(_dispatch, asked))
    # No chunks, or all of them were done before the run counted as started: nobody else would end it.
    await asked.tools.completion.complete(asked.job, run.run_id)


async def _opened(asked: _Asked, run: Run | None) -> Run:
    """The run, such that its chunks are worked on: opened, opened again, or not held any longer."""
    if run is None:
        return await asked.tools.planning.open(asked.job, asked.run_id)
    if run.state in ENDED:
        await asked.tools.planning.reopen(asked.job, run.run_id)
    elif asked.request.resume:
        await asked.ports.ledger.pause_run(run.run_id, paused=False)
    return run


async def _end_again(asked: _Asked, run: Run) -> None:
    """Whoever ended the run may have died before that was announced."""
    log.info("run is planned already", run_id=run.run_id, state=run.state)
    await asked.tools.completion.complete(asked.job, run.run_id)


async def _check_snapshot(asked: _Asked) -> None:
    """A plan is one of its own run's snapshot, and of no other.

    Raises:
        PermanentError: that snapshot is there no more.
    """
    present = await asked.tools.planning.databases.of(asked.job).present_run()
    if present != asked.run_id:
        whose = "gone" if present is None else f"run {present}'s now"
        raise PermanentError(f"the snapshot is {whose}: run {asked.run_id} cannot go on; start a new one")


async def _dispatch(asked: _Asked) -> None:
    """Ask for every chunk that is not done."""
    chunk_ids = await asked.tools.planning.unfinished(asked.run_id)
    commands = [ProcessChunk(pipeline=asked.job.name, run_id=asked.run_id, chunk_id=chunk_id) for chunk_id in chunk_ids]
    await asked.ports.publisher.send(CHUNK_QUEUE, commands, run_id=asked.run_id)
    asked.ports.telemetry.metric("ChunksSent", len(commands), pipeline=asked.job.name)
    log.info("chunks dispatched", run_id=asked.run_id, chunks=len(commands))


async def _fail(asked: _Asked, reason: str) -> None:
    """End the request's run; the reason of one that had ended before is replaced if somebody asked to resume it."""
    run = await asked.tools.planning.open(asked.job, asked.run_id)
    if run.state in ENDED and asked.request.resume:
        await asked.ports.ledger.reopen_run(run.run_id)
    elif run.state in ENDED:
        reason = run.reason or reason
    await asked.tools.completion.fail(run, reason)


async def _preview(asked: _Asked, receives: int) -> PlanPreview:
    """What a run would work on, or why there cannot be one.

    Raises:
        TemporaryError: the database does not answer; ask again.
    """
    try:
        return await _previewed(asked)
    except PermanentError as error:
        return preview_of_failure(asked.request, RunMode.CHUNKS, str(error))
    except TemporaryError as error:
        if receives < asked.tools.patience:
            raise
        return preview_of_failure(asked.request, RunMode.CHUNKS, str(error))


async def _previewed(asked: _Asked) -> PlanPreview:
    declared, payload = asked.job.job, asked.request.chunk
    window = window_of(declared.window, payload, asked.ports.clock.now().date())
    sizes = sizes_of(declared.chunks, payload)
    chunks: list[PlannedChunk] = []
    warnings: list[str] = []
    async for draft in balanced(_keys(asked, window), sizes):
        warnings += warnings_of(asked.job, draft, sizes)
        chunks.append(PlannedChunk(chunk_id=str(len(chunks)), rows=draft.rows, keys=draft.size))
    return preview_of_chunks(asked.request, chunks, window, warnings)


def _keys(asked: _Asked, window: Window) -> AsyncIterator[KeyRows]:
    database, sql = asked.tools.planning.databases.of(asked.job), asked.job.job.sql
    if sql.preview is not None:
        return database.preview(window)
    if sql.prepare:
        raise BadDeclarationError(
            f"{asked.job.name} declares no sql.preview: before there is a snapshot, nobody can say what it would hold"
        )
    return database.distribution()
