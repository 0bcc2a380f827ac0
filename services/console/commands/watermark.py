"""``tidegate watermark``: how far each source is durably ingested."""

import asyncio
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer

from contracts.pipelines import Pipeline
from services.console.output import emit_json, emit_table, say
from services.console.session import Session, open_session
from services.runtime.failures import BadDeclarationError, MissingObjectError
from services.runtime.watermarks import Watermark

app = typer.Typer(name="watermark", help="How far each source is durably ingested.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable result")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be read again, change nothing")]
OPERATOR = "operator"


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """Every watermark."""
    asyncio.run(_list(as_json=as_json))


@app.command()
def show(pipeline: str, as_json: Json = False) -> None:
    """One pipeline's watermark."""
    asyncio.run(_show(pipeline, as_json=as_json))


@app.command()
def reset(pipeline: str, dry_run: DryRun = False) -> None:
    """Forget it: the next run looks at everything again. Settled occurrences still count once."""
    asyncio.run(_move(pipeline, None, dry_run=dry_run))


@app.command()
def rewind(
    pipeline: str, to: Annotated[str, typer.Option("--to", help="earlier moment, ISO 8601")], dry_run: DryRun = False
) -> None:
    """Set it back: the next run looks again at everything from there."""
    try:
        moment = datetime.fromisoformat(to)
    except ValueError as error:
        raise BadDeclarationError(f"--to: {error}") from error
    if moment.tzinfo is None:
        raise BadDeclarationError(f"--to {to}: give a zone, for example {to}+00:00")
    asyncio.run(_move(pipeline, moment, dry_run=dry_run))


async def _list(*, as_json: bool) -> None:
    async with open_session() as session:
        marks = await session.watermarks.list()
    if as_json:
        emit_json([asdict(mark) for mark in marks])
    elif marks:
        rows = [[m.name, m.cursor, m.version, m.run_id, m.updated_at] for m in marks]
        emit_table("Watermarks", ["watermark", "cursor", "version", "run", "updated"], rows)
    else:
        say("no watermarks yet: no run has succeeded")


async def _show(name: str, *, as_json: bool) -> None:
    async with open_session() as session:
        mark = await _read(session, session.pipeline(name))
    if as_json:
        emit_json(asdict(mark))
    else:
        say(f"{mark.name}: {mark.cursor or 'reset'} (version {mark.version}, run {mark.run_id}, {mark.updated_at})")


async def _read(session: Session, pipeline: Pipeline) -> Watermark:
    mark = await session.watermarks.read(pipeline.watermark)
    if mark is None:
        raise MissingObjectError(f"{pipeline.watermark} was never set: no run of {pipeline.name} has succeeded")
    return mark


async def _move(name: str, moment: datetime | None, *, dry_run: bool) -> None:
    async with open_session() as session:
        pipeline = session.pipeline(name)
        mark = await _read(session, pipeline)
        cursor = None if moment is None else moment.isoformat()
        if moment is not None and mark.cursor is not None and moment > datetime.fromisoformat(mark.cursor):
            raise BadDeclarationError(f"{cursor} is later than {mark.cursor}: nobody moves it forward by hand")
        if dry_run:
            again = await _objects_since(session, pipeline, moment)
            say(f"{again} objects would be looked up again; those that are settled still count once")
            return
        moved = await session.watermarks.reset(
            pipeline.watermark, cursor, expected_version=mark.version, run_id=OPERATOR
        )
    say(f"{moved.name}: {mark.cursor or 'reset'} -> {moved.cursor or 'reset'}")


async def _objects_since(session: Session, pipeline: Pipeline, moment: datetime | None) -> int:
    start = None if moment is None else moment - timedelta(hours=pipeline.source.lag_hours)
    count = 0
    async for info in session.objects.list_versions(session.source_bucket(pipeline), pipeline.source.prefix):
        recent = start is None or info.last_modified is None or info.last_modified >= start
        count += recent and pipeline.source.accepts(info.key)
    return count
