"""What can be asked of a chunked job, by name: the same for a state machine, a function's caller and an operator."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeAlias
from uuid import uuid4

from contracts.chunk_jobs import Copy
from contracts.chunks import ActionName, ActionResult, ChunkPlan, RunAction
from contracts.envelope import Json
from contracts.runs import RunState
from services.chunk_worker.core.ends import Done, Dropped, End, Failed, Retry
from services.chunk_worker.core.tasks import Task
from services.chunk_worker.ports import Ports
from services.chunk_worker.use_case.holding import hold
from services.chunk_worker.use_case.process import process_chunk
from services.chunk_worker.use_case.snapshots import (
    cancelled,
    ending_unplanned,
    known_run,
    present_run,
    require_snapshot,
    wait_for_turn,
)
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import Window
from services.runtime.chunking.window import sizes_of, window_of
from services.runtime.failures import BadDeclarationError
from services.runtime.telemetry import correlated

ActionEnd: TypeAlias = ActionResult | Retry | Failed | Dropped


async def act(ports: Ports, job: LoadedJob, command: RunAction, *, receives: int = 1) -> ActionEnd:
    """Carry out an action, as far as that can be done now.

    Raises:
        PermanentError: it cannot be done.
        TemporaryError, ConflictError, UnreachableError: not now.
    """
    with correlated(action=command.action, pipeline=job.name):
        return await _ACTIONS[command.action](ports, job, command, receives)


async def _validate_config(ports: Ports, job: LoadedJob, command: RunAction, _: int) -> ActionEnd:
    """The job was read with its files when this process started; its secrets are read now."""
    declared = job.job
    details: Json = {
        "job": job.name,
        "database": await ports.places.place(job),
        "search_path": declared.database.search_path,
        "keys": {name: column.type for name, column in declared.keys.items()},
        "chunks": declared.chunks.model_dump(mode="json"),
        "files": declared.files,
        "analytics": None if declared.analytics is None else declared.analytics.kind,
    }
    if any(isinstance(step, Copy) for step in declared.sql.prepare):
        ports.analytics.of(job)
    return _result(command, None, details)


async def _test_postgres(ports: Ports, job: LoadedJob, command: RunAction, _: int) -> ActionEnd:
    return _result(command, None, {"database": await ports.tables.check(job)})


async def _test_snowflake(ports: Ports, job: LoadedJob, command: RunAction, _: int) -> ActionEnd:
    return _result(command, None, {"analytics": await ports.analytics.of(job).check()})


async def _task_01(ports: Ports, job: LoadedJob, command: RunAction, receives: int) -> ActionEnd:
    payload = command.payload
    run_id = payload.run_id or f"{job.name}-{ports.clock.now():%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    window_of(job.job.window, payload.chunk, ports.clock.now().date())  # a mistake opens no run
    sizes_of(job.job.chunks, payload.chunk)

    async def prepare(_: object) -> ActionEnd:
        run = await ports.ledger.run(run_id)
        if run is not None:
            run = await ports.planning.open(job, run_id)  # refuses a run of another job
            if (end := cancelled(run)) is not None:
                return end
        plan = await ports.plans.find(run_id)
        if plan is not None:
            if run is None or run.state is not RunState.SUCCEEDED:
                await ports.planning.prepare(job, run_id, payload.chunk)  # refuses another snapshot than the plan's
            if run is None:  # the ledger has lost it; the database knows which of its chunks are done
                await ports.planning.open(job, run_id)
            return _result(command, run_id, _snapshot(run_id, Window(plan.first_day, plan.last_day), taken=False))
        await wait_for_turn(ports, job, run_id, receives)
        opened = await ports.planning.open(job, run_id)
        if run is not None and run.state is RunState.FAILED:
            await ports.ledger.reopen_run(run_id)
        async with ending_unplanned(ports, job, run_id):
            taken = await ports.planning.prepare(job, run_id, payload.chunk)
        asked = datetime.fromisoformat(opened.started_at).astimezone(UTC).date()
        window = window_of(job.job.window, payload.chunk, asked)
        return _result(command, run_id, _snapshot(run_id, window, taken=taken))

    return await hold(ports, _planning(job), prepare, token=command.task_token)


def _snapshot(run_id: str, window: Window, *, taken: bool) -> Json:
    days = {"first_day": window.first_day.isoformat(), "last_day": window.last_day.isoformat()}
    return {"run_id": run_id, "snapshot_taken": taken, **days}


async def _get_chunks(ports: Ports, job: LoadedJob, command: RunAction, receives: int) -> ActionEnd:
    planned = await _planned(ports, job, command, receives, whole=False)
    if isinstance(planned, Dropped):
        return planned
    plan, chunk_ids = planned
    details: Json = {
        "chunk_ids": chunk_ids,
        "total_chunks": len(plan.chunks),
        "total_rows": plan.rows,
        "run_id": plan.run_id,
    }
    return _result(command, plan.run_id, details)


async def _task_02(ports: Ports, job: LoadedJob, command: RunAction, receives: int) -> ActionEnd:
    if job.job.sql.whole is None:
        raise BadDeclarationError(f"{job.name} declares no sql.whole: it is done in chunks only")
    planned = await _planned(ports, job, command, receives, whole=True)
    if isinstance(planned, Dropped):
        return planned
    plan, chunk_ids = planned
    for chunk_id in chunk_ids:  # one; or those of a run that was planned in chunks before, one after the other
        end = await process_chunk(ports, Task(job, plan.run_id, chunk_id, receives, command.task_token))
        if not isinstance(end, Done):
            return end
    entries = await ports.chunks.chunks(plan.run_id)
    details: Json = {
        "run_id": plan.run_id,
        "chunks": len(entries),
        "rows": sum(entry.updated or 0 for entry in entries),
        "seconds": round(sum(entry.seconds for entry in entries), 3),
    }
    return _result(command, plan.run_id, details)


async def _process_chunk(ports: Ports, job: LoadedJob, command: RunAction, receives: int) -> ActionEnd:
    payload = command.payload
    if payload.chunk_id is None:
        raise BadDeclarationError(f"{command.action} needs a chunk_id")
    run_id = payload.run_id or await present_run(ports, job)
    end: End = await process_chunk(ports, Task(job, run_id, payload.chunk_id, receives, command.task_token))
    if not isinstance(end, Done):
        return end
    return _result(command, run_id, end.outcome.model_dump(mode="json"))


async def _planned(
    ports: Ports, job: LoadedJob, command: RunAction, receives: int, *, whole: bool
) -> tuple[ChunkPlan, list[str]] | Dropped:
    """The plan of a run that has a snapshot, and what of it is not done; a run that has failed goes on."""
    sizes_of(job.job.chunks, command.payload.chunk)  # a mistake changes nothing
    run_id = command.payload.run_id or await present_run(ports, job)

    async def plan(_: object) -> tuple[ChunkPlan, list[str]] | Dropped:
        run = await known_run(ports, job, run_id)
        if (end := cancelled(run)) is not None:
            return end
        kept = await ports.plans.find(run_id)
        if run.state is RunState.SUCCEEDED and kept is not None:
            if receives > 1:  # it may be this very message that ended the run, and died before it could say so
                await ports.completion.complete(job, run_id)
            return kept, []
        async with ending_unplanned(ports, job, run_id):
            await require_snapshot(ports, job, run_id)
            if run.state is RunState.FAILED and run.planned is None:  # a run that has ended is not started
                await ports.ledger.reopen_run(run_id)
            plan = await ports.planning.plan(job, run_id, command.payload.chunk, whole=whole)
        if run.state is RunState.FAILED:
            unfinished = await ports.planning.reopen(job, run_id)
        else:
            unfinished = await ports.planning.unfinished(run_id)
        if not unfinished:
            await ports.completion.complete(job, run_id)
        return plan, unfinished

    return await hold(ports, _planning(job), plan, token=command.task_token)


def _planning(job: LoadedJob) -> str:
    """Who plans a job holds this; the planner does, too."""
    return f"plan:{job.name}"


def _result(command: RunAction, run_id: str | None, details: Json) -> ActionResult:
    return ActionResult(action=command.action, run_id=run_id, details=details)


_Action: TypeAlias = Callable[[Ports, LoadedJob, RunAction, int], Awaitable[ActionEnd]]
_ACTIONS: Mapping[ActionName, _Action] = MappingProxyType(
    {
        ActionName.VALIDATE_CONFIG: _validate_config,
        ActionName.TEST_POSTGRES: _test_postgres,
        ActionName.TEST_SNOWFLAKE: _test_snowflake,
        ActionName.TASK_01: _task_01,
        ActionName.TASK_02: _task_02,
        ActionName.GET_CHUNKS: _get_chunks,
        ActionName.PROCESS_CHUNK: _process_chunk,
    }
)
