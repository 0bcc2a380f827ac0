"""``tidegate watermark``: how far each source is durably ingested."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from contracts.pipelines import Pipeline
from contracts.sources import EntitySource, ObjectSource, SocrataSource
from services.console.output import emit_json, emit_table, say
from services.console.session import Session, open_session
from services.runtime.failures import BadDeclarationError, MissingObjectError
from services.runtime.watermarks import Watermark

app = typer.Typer(name="watermark", help="How far each source is durably ingested.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable result")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be read again, change nothing")]
OPERATOR = "operator"
FLOATING = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?", re.ASCII)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """Every watermark."""
    asyncio.run(_list(as_json=as_json))


@app.command()
def show(pipeline: str, as_json: Json = False) -> None:
    """One pipeline's watermark, or those of a group's entities."""
    asyncio.run(_show(pipeline, as_json=as_json))


@app.command()
def reset(pipeline: str, dry_run: DryRun = False) -> None:
    """Forget it: the next run looks at everything again. What is settled or in the output still counts once."""
    asyncio.run(_move(pipeline, None, dry_run=dry_run))


@app.command()
def rewind(
    pipeline: str,
    to: Annotated[str, typer.Option("--to", help="earlier moment, ISO 8601; without a zone where the source has none")],
    dry_run: DryRun = False,
) -> None:
    """Set it back: the next run looks again at everything from there."""
    asyncio.run(_move(pipeline, to, dry_run=dry_run))


async def _list(*, as_json: bool) -> None:
    async with open_session() as session:
        _tell(await session.watermarks.list(), as_json=as_json)


def _tell(marks: Sequence[Watermark], *, as_json: bool) -> None:
    if as_json:
        emit_json([asdict(mark) for mark in marks])
    elif marks:
        rows = [[m.name, m.cursor, m.complete_until, m.version, m.run_id, m.updated_at[:19]] for m in marks]
        emit_table("Watermarks", ["watermark", "cursor", "complete until", "version", "run", "updated"], rows)
    else:
        say("no watermarks yet: no run has succeeded")


async def _show(name: str, *, as_json: bool) -> None:
    async with open_session() as session:
        if name in session.groups:
            found = [await session.watermarks.read(each.watermark) for each in session.members(name)]
            _tell([mark for mark in found if mark is not None], as_json=as_json)
            return
        mark = await _read(session, session.pipeline(name))
    if as_json:
        emit_json(asdict(mark))
    else:
        until = "" if mark.complete_until is None else f", complete until {mark.complete_until}"
        cursor = mark.cursor or "reset"
        say(f"{mark.name}: {cursor}{until} (version {mark.version}, run {mark.run_id}, {mark.updated_at})")


async def _read(session: Session, pipeline: Pipeline) -> Watermark:
    mark = await session.watermarks.read(pipeline.watermark)
    if mark is None:
        raise MissingObjectError(f"{pipeline.watermark} was never set: no run of {pipeline.name} has succeeded")
    return mark


async def _move(name: str, to: str | None, *, dry_run: bool) -> None:
    async with open_session() as session:
        pipeline = session.pipeline(name)
        source = pipeline.source
        cursor = None if to is None else cursor_at(source, to)
        mark = await _read(session, pipeline)
        if cursor is not None:
            check_backwards(source, mark, cursor)
        if dry_run:
            if isinstance(source, ObjectSource):
                again = await _objects_since(session, pipeline, source, cursor)
                say(f"{again} objects would be looked up again; those that are settled still count once")
            elif isinstance(source, SocrataSource):
                say(f"{read_again(source, mark, cursor)}; rows that are in the output still count once")
            else:
                say(load_again(source, mark, cursor))
            return
        moved = await session.watermarks.reset(
            pipeline.watermark, cursor, expected_version=mark.version, run_id=OPERATOR
        )
    say(f"{moved.name}: {mark.cursor or 'reset'} -> {moved.cursor or 'reset'}")


def cursor_at(source: ObjectSource | SocrataSource | EntitySource, to: str) -> str:
    """The cursor for a moment, as sources of this kind have it.

    Raises:
        BadDeclarationError: it is not written as it must be.
    """
    if isinstance(source, ObjectSource):
        return zoned(to)
    return floating(to) if isinstance(source, SocrataSource) else in_utc(to)


def in_utc(to: str) -> str:
    """The cursor of an entity for a moment: 26 characters of UTC, which is also what a time without a zone is.

    Raises:
        BadDeclarationError: it is no moment.
    """
    moment = _moment(to)
    try:
        utc = moment if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise BadDeclarationError(f"--to {to}: {error}") from error
    return utc.replace(tzinfo=None).isoformat(timespec="microseconds")


def zoned(to: str) -> str:
    """The cursor for a moment in the time of S3: ISO 8601 with a zone.

    Raises:
        BadDeclarationError: it is not.
    """
    moment = _moment(to)
    if moment.tzinfo is None:
        raise BadDeclarationError(f"--to {to}: give a zone, for example {to}+00:00")
    return moment.isoformat()


def floating(to: str) -> str:
    """The cursor for a moment in a source's local time, as it was given: cursors are compared as text.

    Raises:
        BadDeclarationError: it has a zone, or is not written as sources write it.
    """
    if _moment(to).tzinfo is not None:
        raise BadDeclarationError(f"--to {to}: the source's times have no zone; give its local time without one")
    if not FLOATING.fullmatch(to):
        raise BadDeclarationError(f"--to {to}: write it as the source does, for example 2025-02-21T14:30:00.000")
    return to


def _moment(to: str) -> datetime:
    try:
        return datetime.fromisoformat(to)
    except ValueError as error:
        raise BadDeclarationError(f"--to: {error}") from error


def check_backwards(source: ObjectSource | SocrataSource | EntitySource, mark: Watermark, cursor: str) -> None:
    """Refuse what would make the next run read less than it would have read.

    Raises:
        BadDeclarationError: the cursor is later than the watermark's, or its lag begins after what the watermark holds
            complete.
    """
    if mark.cursor is not None and datetime.fromisoformat(cursor) > datetime.fromisoformat(mark.cursor):
        raise BadDeclarationError(f"{cursor} is later than {mark.cursor}: nobody moves it forward by hand")
    until = mark.complete_until
    if (
        until is not None
        and not isinstance(source, EntitySource)
        and datetime.fromisoformat(until) < _less_lag(source, cursor)
    ):
        raise BadDeclarationError(f"{cursor} would read less: the next run starts at {until} already")


def read_again(source: SocrataSource, mark: Watermark, cursor: str | None) -> str:
    """What moving the watermark means for the next run of a collecting pipeline; None is a reset."""
    now = "starts over" if mark.cursor is None else f"starts at {_start(source, mark.cursor, mark.complete_until)}"
    if cursor is None:
        return f"the next run would load the last {source.initial_lookback_days} days anew; as it stands, it {now}"
    start = _start(source, cursor, None)
    return f"the next run would start at {start} ({source.lag_hours} h of lag before {cursor}); as it stands, it {now}"


def _start(source: SocrataSource, cursor: str, complete_until: str | None) -> str:
    return complete_until or _less_lag(source, cursor).isoformat(timespec="milliseconds")


def _less_lag(source: ObjectSource | SocrataSource, cursor: str) -> datetime:
    moment = datetime.fromisoformat(cursor)
    try:
        return moment - timedelta(hours=source.lag_hours)
    except OverflowError:  # at the calendar's beginning there is nothing earlier to read
        return moment


def load_again(source: EntitySource, mark: Watermark, cursor: str | None) -> str:
    """What moving the watermark means for the next load of an entity; None is a reset."""
    stands = "is a full load" if mark.cursor is None else f"reads from {mark.cursor}"
    if cursor is None:
        return f"the next load would be a full one, which begins a new generation; as it stands, it {stands}"
    overlap = f" less {source.overlap_seconds} s of overlap" if source.overlap_seconds else ""
    return (
        f"the next load would read from {cursor}{overlap}; as it stands, it {stands}{overlap};"
        " versions that are in bronze since the last full load still count once"
    )


async def _objects_since(session: Session, pipeline: Pipeline, source: ObjectSource, cursor: str | None) -> int:
    start = None if cursor is None else _less_lag(source, cursor)
    count = 0
    async for info in session.objects.list_versions(session.source_bucket(pipeline), source.prefix):
        recent = start is None or info.last_modified is None or info.last_modified >= start
        count += recent and source.accepts(info.key)
    return count
