"""``tidegate run``: ask the planner for a run, or hold a chunked one."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import uuid4

import typer
from pydantic import ValidationError

from contracts.chunks import ChunkPayload
from contracts.runs import (
    ChunkRunResponse,
    CollectPayload,
    CollectResponse,
    ErrorResponse,
    LoadPayload,
    LoadResponse,
    PlanRun,
    RunMode,
    RunState,
    ScanPayload,
    ScanResponse,
)
from services.console.checkpoint_files import destinations
from services.console.commands.holding import DONE, Verb, hold
from services.console.commands.status import show
from services.console.following import Followed, follow_run
from services.console.output import emit_json, say
from services.console.session import PLAN_QUEUE, Session, open_session
from services.runtime.checkpoints import Head
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.responses import respond, respond_chunks, respond_collected, respond_loads

Payload = Annotated[
    str,
    typer.Option(
        help="JSON: source_bucket, prefix, checkpoint_bucket, …; of a collecting pipeline: "
        "force_initial_load, max_records, initial_lookback_days; of a group or an entity: load_type; "
        "of a chunked job: first_day, last_day, target_rows, max_rows, max_keys"
    ),
]
Entities = Annotated[list[str] | None, typer.Argument(help="of a group: only these; default: all")]
RunEntities = Annotated[
    list[str] | None,
    typer.Argument(help="of a group: only these; default: all. Of pause, resume, cancel: the chunked run"),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def run(
        pipeline: Annotated[
            str, typer.Argument(help="pipeline, group of entities or chunked job to run; or pause, resume, cancel")
        ],
        entities: RunEntities = None,
        payload: Payload = "{}",
        wait: Annotated[bool, typer.Option("--wait", help="follow the run and exit by its result")] = False,
        timeout: Annotated[float, typer.Option(help="seconds to follow it")] = 900.0,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Read the source and ingest what is not settled yet; or pause, resume or cancel the run of a chunked job."""
        request = (pipeline, entities or [], payload)
        work = _hold if pipeline in list(Verb) else _run
        asyncio.run(work(request, wait=wait, timeout_s=timeout, as_json=as_json))


def request_of(
    session: Session, name: str, entities: Sequence[str], purpose: str, payload: str, *, dry_run: bool = False
) -> PlanRun:
    """The request for a new run with an operator's payload; ``purpose`` is part of the run's name.

    Raises:
        BadDeclarationError: there is no such pipeline or entity, or the payload is not the JSON document that its runs
            take.
    """
    job = session.jobs.get(name)
    if job is not None and entities:
        raise BadDeclarationError(f"{name} has no entities to choose from, such as {entities[0]!r}")
    run_id = f"{name}{purpose}-{session.clock.now():%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    if job is not None:
        return PlanRun(pipeline=name, run_id=run_id, chunk=_chunk(payload), dry_run=dry_run)
    [pipeline, *_] = session.members(name, entities)
    with _clear():
        given = json.loads(payload)
        if pipeline.is_landed:
            load = LoadPayload.model_validate(given)
            return PlanRun(pipeline=name, run_id=run_id, load=load, entities=list(entities), dry_run=dry_run)
        if pipeline.is_collected:
            collect = CollectPayload.model_validate(given)
            return PlanRun(pipeline=name, run_id=run_id, collect=collect, dry_run=dry_run)
        return PlanRun(pipeline=name, run_id=run_id, payload=ScanPayload.model_validate(given), dry_run=dry_run)


def _chunk(payload: str) -> ChunkPayload:
    with _clear():
        return ChunkPayload.model_validate(json.loads(payload))


@contextmanager
def _clear() -> Iterator[None]:
    """What is wrong with a payload, in one line."""
    try:
        yield
    except ValidationError as error:
        details = error.errors(include_url=False)
        places = "; ".join(f"{'.'.join(map(str, d['loc'])) or 'the document'}: {d['msg']}" for d in details)
        raise BadDeclarationError(f"--payload: {places}") from error
    except (ValueError, RecursionError) as error:  # also numbers too long and nesting too deep for Python's reader
        raise BadDeclarationError(f"--payload is not JSON: {error}") from error


async def _run(request: tuple[str, Sequence[str], str], *, wait: bool, timeout_s: float, as_json: bool) -> None:
    name, entities, payload = request
    async with open_session() as session:
        command = request_of(session, name, entities, "", payload)
        run_id = command.run_id
        await session.publisher.send(PLAN_QUEUE, [command], run_id=run_id)
        if not wait:
            _tell(run_id, as_json=as_json)
            return
        await _finish(session, await follow_run(session, run_id, timeout_s), as_json=as_json)


async def _hold(request: tuple[str, Sequence[str], str], *, wait: bool, timeout_s: float, as_json: bool) -> None:
    name, runs, payload = request
    verb = Verb(name)
    if len(runs) != 1:
        raise BadDeclarationError(f"`tidegate run {verb}` takes one run")
    if verb is not Verb.RESUME and (wait or payload != "{}"):
        raise BadDeclarationError(f"`tidegate run {verb}` takes neither --wait nor --payload")
    [run_id] = runs
    async with open_session() as session:
        held = await hold(session.ledger, session.publisher, verb, run_id, _chunk(payload))
        if wait:
            followed = await follow_run(session, run_id, timeout_s, held=held)
            await _finish(session, followed, as_json=as_json)
        elif as_json:
            emit_json({"run_id": run_id, "asked": verb.value})
        else:
            say(f"run {run_id} {DONE[verb].format(run=run_id)}")


async def _finish(session: Session, followed: Followed, *, as_json: bool) -> None:
    """Show a run that has ended; the exit code says how."""
    run = followed.run
    if as_json:
        emit_json((await response_of(session, followed)).model_dump(mode="json", by_alias=True))
    else:
        show(followed)
    if run.state is not RunState.SUCCEEDED:
        raise PermanentError(f"run {run.run_id} {run.state}: {run.reason}")


async def response_of(
    session: Session, followed: Followed
) -> ScanResponse | CollectResponse | LoadResponse | ChunkRunResponse | ErrorResponse:
    """What an ended run answers; a failed one names the objects it put into quarantine, whole or in part.

    One of a group names each entity with what became of it.
    """
    run = followed.run
    if run.mode is RunMode.CHUNKS:
        return respond_chunks(run, followed.table)
    if run.pipeline in session.groups or session.pipeline(run.pipeline).is_landed:
        parts = followed.children if run.pipeline in session.groups else (followed,)
        return respond_loads(run, {each.entity: (each.run, each.table, each.reached) for each in parts})
    failed: dict[str, None] = {}
    if run.state is not RunState.SUCCEEDED:
        async for entry in quarantined(session, f"{run.pipeline}/{run.run_id}/"):
            failed[f"s3://{entry['occurrence']['bucket']}/{entry['occurrence']['key']}"] = None
    if session.pipeline(run.pipeline).is_collected:
        return respond_collected(run, followed.table, list(failed))
    return respond(run, followed.table, await _head(session, followed), list(failed))


async def _head(session: Session, followed: Followed) -> Head:
    """The head of the checkpoint that a run made; of all together where its key is a template."""
    pipeline = session.pipeline(followed.run.pipeline)
    own = session.destination(pipeline)
    if not pipeline.target.fields or followed.run.destination not in {None, own.uri}:
        return await session.checkpoints.head((followed.run.destination or own.uri).removeprefix("s3://"))
    heads = [await session.checkpoints.head(f"{d.bucket}/{d.key}") for d in await destinations(session, pipeline)]
    return Head(
        checkpoint=f"{own.bucket}/{own.key}",
        total_rows=sum(head.total_rows for head in heads),
        max_cursor=max((head.max_cursor for head in heads if head.max_cursor is not None), default=None),
    )


async def quarantined(session: Session, prefix: str) -> AsyncIterator[dict[str, Any]]:
    """What was ever put into quarantine under a prefix (``{pipeline}/{run}/``), as it was written."""
    bucket = session.settings.resource("quarantine")
    async for info in session.objects.list(bucket, prefix):
        for line in (await session.objects.get(bucket, info.key)).body.splitlines():
            yield json.loads(line)


def _tell(run_id: str, *, as_json: bool) -> None:
    answer: dict[str, Any] = {"run_id": run_id}
    if as_json:
        emit_json(answer)
    else:
        say(f"run {run_id} requested; follow it with: tidegate wait {run_id}")
