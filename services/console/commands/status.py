"""``tidegate status``: runs, and one run with its ledger and conservation table."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from contracts.runs import RunMode
from services.console.commands.chunk_status import Pace, describe_chunks, settled_chunks, show_chunks
from services.console.following import FINAL, Followed, look, look_at
from services.console.output import emit_json, emit_table, say
from services.console.session import Session, open_session
from services.runtime.conservation import Hop
from services.runtime.ledger import Run

HOP_COLUMNS = ("hop", "in", "out", "quarantined", "filtered", "ignored", "duplicates", "pending", "missing")
CHUNK_HOP_COLUMNS = ("hop", "in", "out", "gone", "pending", "missing")
"""Rows that were deleted since the snapshot are gone."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def status(
        run: Annotated[str | None, typer.Argument(help="run to show; default: the newest runs")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Show runs with state, counts and rates, or one run with its conservation table."""
        asyncio.run(_status(run, as_json=as_json))


async def _status(run_id: str | None, *, as_json: bool) -> None:
    async with open_session() as session:
        if run_id is not None:
            followed = await look(session, run_id)
            if as_json:
                emit_json(describe(followed))
            else:
                show(followed)
            return
        runs = [await look_at(session, r) for r in await session.ledger.runs()]
        if as_json:
            emit_json([describe(followed) for followed in runs])
        else:
            _list(session, runs)


def _list(session: Session, runs: list[Followed]) -> None:
    if not runs:
        say("no runs yet; start one with: tidegate run PIPELINE")
        return
    columns = ["run", "mode", "state", "segments", "records", "quarantined", "rows/s", "ETA", "started"]
    emit_table("Runs", columns, [_row(followed, session.clock.now()) for followed in runs])


def _row(followed: Followed, now: datetime) -> list[Any]:
    run, table = followed.run, followed.table
    rate, left = _pace(followed, now)
    return [
        run.run_id,
        run.mode.value,
        state_of(followed),
        _settled(followed),
        followed.records,
        sum(hop.quarantined for hop in table.hops),
        "" if rate is None else f"{rate:,.0f}",
        "" if left is None else f"{left:,.0f} s",
        run.started_at[:19],
    ]


def _settled(followed: Followed) -> str:
    """Segments that are merged; of a group's run the entities that have ended, of a chunked one its chunks."""
    run = followed.run
    if run.mode is RunMode.CHUNKS:
        return settled_chunks(followed)
    if run.children:
        return f"{sum(child.run.state in FINAL for child in followed.children)}/{len(run.children)} entities"
    return f"{run.settled}" + ("" if run.planned is None else f"/{max(run.planned, run.settled)}")


def _end(run: Run, now: datetime) -> datetime:
    return now.astimezone(UTC) if run.finished_at is None else datetime.fromisoformat(run.finished_at)


def _pace(followed: Followed, now: datetime) -> tuple[float | None, float | None]:
    """Rows per second, and seconds to go; None where that cannot be said."""
    run = followed.run
    if run.mode is RunMode.CHUNKS:
        pace = Pace.of(followed)
        return pace.rows_per_s, pace.eta_s
    seconds = max((_end(run, now) - datetime.fromisoformat(run.started_at)).total_seconds(), 0.001)
    rate = followed.records / seconds if run.mode is not RunMode.EVENTS else None
    if run.state in FINAL or not run.settled or run.planned is None:
        return rate, None
    return rate, seconds / run.settled * max(run.planned - run.settled, 0)


def state_of(followed: Followed) -> str:
    """A run's state as people read it; an events run is open all day, so it says whether it is settled."""
    run, table = followed.run, followed.table
    if run.state in FINAL:
        return run.state.value
    if run.paused:
        return "paused"
    if run.reason is not None:
        return "blocked"
    if run.children:
        return "running"
    if run.mode is RunMode.EVENTS:
        return "open, settled" if not table.pending_segments else "open, working"
    return run.state.value


def describe(followed: Followed) -> dict[str, Any]:
    """A run for machines."""
    return {
        **asdict(followed.run),
        "fetched": followed.fetched,
        "nulled": followed.nulled,
        "new_columns": list(followed.new_columns),
        "schema_changes": list(followed.schema_changes),
        "balanced": followed.table.balanced,
        "problems": list(followed.table.problems),
        "pending_segments": followed.table.pending_segments,
        "records": followed.records,
        "watermark": followed.reached,
        "entities": {child.entity: describe(child) for child in followed.children},
        "conservation": [asdict(hop) for hop in followed.table.hops],
        **(describe_chunks(followed) if followed.run.mode is RunMode.CHUNKS else {}),
    }


def show(followed: Followed) -> None:
    """A run for people: what it is, and its conservation table."""
    if followed.run.children:
        _show_group(followed)
        return
    run, table = followed.run, followed.table
    chunked = run.mode is RunMode.CHUNKS
    settled = settled_chunks(followed) if chunked else f"{run.settled} segments merged"
    say(f"run {run.run_id}  {run.mode.value}  {state_of(followed)}  {settled}")
    if run.reason is not None:
        say(f"  reason: {run.reason}")
    if run.destination is not None:
        say(f"  output: {run.destination}")
    for line in _collected(followed):
        say(f"  {line}")
    if chunked:
        show_chunks(followed, datetime.now(UTC))
    unit = "occurrence" if followed.fetched is None and not chunked else "row"
    if chunked:
        hops = [[hop.name, hop.received, hop.passed_on, hop.ignored, hop.pending, hop.missing] for hop in table.hops]
        emit_table("Conservation (rows)", CHUNK_HOP_COLUMNS, hops)
    else:
        emit_table(f"Conservation ({unit}s)", HOP_COLUMNS, [_hop(hop) for hop in table.hops])
    say(f"balanced: every {unit} is accounted for" if table.balanced else "NOT BALANCED: " + "; ".join(table.problems))


def _show_group(followed: Followed) -> None:
    """A group's run for people: a line for each entity, and the conservation table of all."""
    run = followed.run
    say(f"run {run.run_id}  {run.mode.value}  {state_of(followed)}  {_settled(followed)} ended")
    if run.reason is not None:
        say(f"  reason: {run.reason}")
    columns = ["entity", "state", "mode", "fetched", "new", "known", "quarantined", "watermark", "reason"]
    rows = [
        [
            child.entity,
            state_of(child),
            child.run.mode.value,
            child.fetched or 0,
            child.records,
            sum(hop.duplicates for hop in child.table.hops),
            sum(hop.quarantined for hop in child.table.hops),
            child.reached,
            child.run.reason,
        ]
        for child in followed.children
    ]
    emit_table(f"Entities of {run.pipeline} (rows)", columns, rows)
    for child in followed.children:
        if child.schema_changes:
            say(f"  {child.entity}: schema changed: {'; '.join(child.schema_changes)}")
    begun = [child for child in followed.children if child.run.planned is not None]
    hops = [[child.entity, *_hop(hop)] for child in begun for hop in child.table.hops]
    emit_table("Conservation (rows)", ["entity", *HOP_COLUMNS], hops)
    problems = [f"{child.entity}: {problem}" for child in followed.children for problem in child.table.problems]
    say("NOT BALANCED: " + "; ".join(problems) if problems else "balanced: every row is accounted for")


def _collected(followed: Followed) -> Iterator[str]:
    """What there is to say of rows that we fetch ourselves."""
    covers = followed.run.collection
    if covers is not None:
        yield f"range: {covers.start} to {covers.end}"
        if covers.limit is not None:
            yield f"limit reached: {covers.limit:,} rows; the next run goes on exactly there"
    if followed.fetched is not None:
        yield f"fetched: {_progress(followed.fetched, None if covers is None else covers.expected_rows)}"
    if followed.nulled:
        yield f"nulled: {followed.nulled:,} bad values in good rows"
    if followed.schema_changes:
        yield f"schema changed: {'; '.join(followed.schema_changes)}"
    if followed.new_columns:
        yield f"new columns, kept in the raw objects only: {', '.join(followed.new_columns)}"


def _progress(fetched: int, expected: int | None) -> str:
    if not expected:
        return f"{fetched:,} rows"
    return f"{fetched:,} of {expected:,} rows that were counted when the run was planned ({fetched / expected:.0%})"


def _hop(hop: Hop) -> list[Any]:
    return [
        hop.name,
        hop.received,
        hop.passed_on,
        hop.quarantined,
        hop.filtered,
        hop.ignored,
        hop.duplicates,
        hop.pending,
        hop.missing,
    ]
