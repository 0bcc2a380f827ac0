"""What is shown of a chunked run: how far it is and how fast, what failed, and who works on what."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from services.console.following import FINAL, Followed
from services.console.output import emit_table, say
from services.runtime.chunking.ports import ChunkEntry, ChunkState

SHOWN = 50
"""Chunks a table shows; --json gives all."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a run is, and how fast it goes."""

    rows: int
    rows_done: int
    """Updated, or gone since the snapshot."""
    rows_per_s: float | None
    """While chunks were worked on: what a run waits or is held for does not count. None before the first is done."""
    eta_s: float | None
    """Seconds to go at this pace; None where nothing goes on."""

    @classmethod
    def of(cls, followed: Followed) -> Self:
        """Those of a run as it stands."""
        run = followed.run
        done = [chunk for chunk in followed.chunks if chunk.state is ChunkState.DONE]
        rows_done = sum((chunk.updated or 0) + chunk.gone for chunk in done)
        busy = _busy(done).total_seconds()
        pace = rows_done / busy if busy else None
        left = sum(chunk.rows for chunk in followed.chunks if chunk.state is ChunkState.PLANNED)
        goes_on = run.state not in FINAL and not run.paused and pace
        return cls(run.scan.listed, rows_done, pace, left / pace if goes_on and pace else None)


def _busy(done: Iterable[ChunkEntry]) -> timedelta:
    """How long at least one of these chunks was worked on."""
    spans = sorted(_span(chunk) for chunk in done if chunk.started_at is not None)
    total, until = timedelta(), None
    for start, end in spans:
        total += max(end - (start if until is None else max(start, until)), timedelta())
        until = end if until is None else max(until, end)
    return total


def _span(chunk: ChunkEntry) -> tuple[datetime, datetime]:
    start = datetime.fromisoformat(chunk.started_at or chunk.updated_at)
    return start, max(start, datetime.fromisoformat(chunk.updated_at))


def describe_chunks(followed: Followed) -> dict[str, Any]:
    """What machines are told of a chunked run beside what every run has."""
    return {**asdict(Pace.of(followed)), "chunks": [asdict(chunk) for chunk in followed.chunks]}


def settled_chunks(followed: Followed) -> str:
    """Chunks that are done, of how many."""
    run = followed.run
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{run.settled}" + ("" if run.planned is None else f"/{run.planned}") + f" chunks{failed}"


def show_chunks(followed: Followed, now: datetime) -> None:
    """The chunks of a run for people, as far as there is something to say of them."""
    for line in _lines(followed):
        say(f"  {line}")
    failed = [chunk for chunk in followed.chunks if chunk.state is ChunkState.FAILED]
    if failed:
        rows = [[chunk.chunk_id, chunk.rows, chunk.worker, chunk.reason] for chunk in failed]
        _table("Failed chunks", ["chunk", "rows", "worker", "reason"], rows)
    if followed.run.state in FINAL:
        return
    under_way = [c for c in followed.chunks if c.state is ChunkState.PLANNED and c.started_at is not None]
    if under_way:
        rows = [[c.chunk_id, c.rows, c.worker, f"{_age(c, now):,.0f} s"] for c in under_way]
        _table("Begun and not done", ["chunk", "rows", "worker", "for"], rows)


def _age(chunk: ChunkEntry, now: datetime) -> float:
    return max((now - datetime.fromisoformat(chunk.started_at or chunk.updated_at)).total_seconds(), 0.0)


def _lines(followed: Followed) -> Iterator[str]:
    run, pace = followed.run, Pace.of(followed)
    if run.planned is None:
        yield "the plan is being made"
        return
    text = f"rows: {pace.rows_done:,} of {pace.rows:,}"
    if pace.rows_per_s is not None:
        text += f", {pace.rows_per_s:,.0f} rows/s"
    yield text if pace.eta_s is None else f"{text}, {pace.eta_s:,.0f} s to go"
    split = sum(chunk.parts > 0 for chunk in followed.chunks)
    if split:
        yield f"chunks that were done in two parts: {split:,}"
    if run.state in FINAL and any(chunk.state is not ChunkState.DONE for chunk in followed.chunks):
        yield f"what is left: tidegate run resume {run.run_id}"


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    emit_table(title, columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        say(f"… and {len(rows) - SHOWN:,} more (--json gives all)")
