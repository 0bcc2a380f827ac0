"""``tidegate plan``: what a run would do, and nothing else."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from contracts.pipelines import Pipeline
from contracts.plans import PlanPreview
from contracts.runs import RunMode
from services.console.commands.run import Entities, Payload, request_of
from services.console.output import emit_json, emit_table, meter, say
from services.console.session import PLAN_QUEUE, Session, open_session
from services.runtime.failures import MalformedError, PermanentError, TemporaryError

POLL_S = 0.25
SHOWN = 50
"""Segments a table shows; --json gives all."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def plan(
        pipeline: Annotated[
            str, typer.Argument(help="pipeline, group of entities or chunked job whose next run to plan")
        ],
        entities: Entities = None,
        payload: Payload = "{}",
        timeout: Annotated[float, typer.Option(help="seconds to wait for the planner")] = 60.0,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Show what a run would read and send; nothing is dispatched, nothing is written but the preview."""
        asyncio.run(_plan(pipeline, entities or [], payload, timeout_s=timeout, as_json=as_json))


async def _plan(name: str, entities: Sequence[str], payload: str, *, timeout_s: float, as_json: bool) -> None:
    async with open_session() as session:
        request = request_of(session, name, entities, "-plan", payload, dry_run=True)
        await session.publisher.send(PLAN_QUEUE, [request], run_id=request.run_id)
        preview = await _await_preview(session, request.run_id, timeout_s)
        members = [] if name in session.jobs else session.members(name, entities)
        each = {m.entity: f"{request.run_id}.{m.entity}" for m in members if name in session.groups}
        parts = {entity: await _preview(session, run_id) for entity, run_id in each.items()}
    if as_json:
        told = preview.model_dump(mode="json")
        emit_json(told | {"entities": {entity: part.model_dump(mode="json") for entity, part in parts.items()}})
    elif parts:
        show_group(preview, parts)
    elif preview.error is None and preview.mode is RunMode.CHUNKS:
        show_chunks(preview)
    elif preview.error is None:
        show(preview, members[0])
    if preview.error is not None:
        raise PermanentError(f"no plan for {name}: {preview.error}")


async def _await_preview(session: Session, run_id: str, timeout_s: float) -> PlanPreview:
    bucket, key = session.settings.resource("state"), f"plans/{run_id}/preview.json"
    deadline = session.clock.monotonic() + timeout_s
    with meter("waiting for the planner"):
        while await session.objects.head(bucket, key) is None:
            if session.clock.monotonic() >= deadline:
                raise TemporaryError(
                    f"no planner answered after {timeout_s:g} s: none is running, it is busy, or its source is down"
                )
            await asyncio.sleep(POLL_S)
    return await _preview(session, run_id)


async def _preview(session: Session, run_id: str) -> PlanPreview:
    bucket, key = session.settings.resource("state"), f"plans/{run_id}/preview.json"
    try:
        return PlanPreview.model_validate_json((await session.objects.get(bucket, key)).body)
    except ValidationError as error:
        raise MalformedError(f"s3://{bucket}/{key} is not a preview: {error.errors()[0]['msg']}") from error


def show_group(preview: PlanPreview, parts: Mapping[str, PlanPreview]) -> None:
    """A preview of a group for people, an entity a line."""
    say(f"plan of {preview.pipeline}  {preview.rows:,} rows in {len(preview.segments):,} segments")
    columns = ["entity", "mode", "rows", "segments", "from", "until", "watermark afterwards", "error"]
    rows = [
        [entity, each.mode.value, each.rows, len(each.segments), each.start, each.end, each.frontier, each.error]
        for entity, each in parts.items()
    ]
    emit_table("Entities (rows are estimates)", columns, rows)


def show_chunks(preview: PlanPreview) -> None:
    """A preview of a chunked job for people."""
    say(f"plan of {preview.pipeline}  {preview.mode.value}  {preview.rows:,} rows in {len(preview.segments):,} chunks")
    if preview.start is not None:
        say(f"  days: {preview.start} to {preview.end}")
    say(f"  queues: {preview.messages:,} messages")
    for warning in preview.warnings:
        say(f"  warning: {warning}")
    if preview.segments:
        _table(preview, "Chunks", ["chunk", "rows", "holds"])
    else:
        say("nothing to do")


def show(preview: PlanPreview, pipeline: Pipeline) -> None:
    """A preview for people; rows are occurrences where objects are scanned."""
    unit = "rows" if pipeline.is_fetched else "objects"
    size = f"{preview.rows:,} {unit} in {len(preview.segments):,} segments"
    say(f"plan of {preview.pipeline}  {preview.mode.value}  {size}")
    if preview.start is not None:
        say(f"  range: {preview.start} to {preview.end}")
    if preview.limit is not None:
        say(f"  limit: stops at {preview.limit:,} {unit}; the next run goes on exactly there")
    say(f"  source: {preview.requests:,} requests; queues: {preview.messages:,} messages")
    if preview.frontier is not None:
        say(f"  watermark afterwards: {preview.frontier}")
    if not preview.segments:
        say("nothing to read")
        return
    _table(preview, "Segments", ["segment", unit, "holds"])


def _table(preview: PlanPreview, title: str, columns: Sequence[str]) -> None:
    rows: list[list[Any]] = [[each.segment_id, each.rows, each.label] for each in preview.segments[:SHOWN]]
    emit_table(title, columns, rows)
    if len(preview.segments) > SHOWN:
        say(f"… and {len(preview.segments) - SHOWN:,} more (--json gives all)")
