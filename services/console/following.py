"""Following work to its end: one run, or everything."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from contracts.fields import EntityField
from contracts.runs import RunMode, RunState
from services.console.output import meter
from services.console.session import Session
from services.runtime.aws.errors import translated
from services.runtime.chunking.conservation import conserve_chunks
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.conservation import Conservation, conserve
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run

POLL_S = 0.25
IDLE_READINGS = 4
"""Readings in a row without work that make "idle": an event may be between its bucket and its queue."""
FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Followed:
    """A run with its table."""

    run: Run
    table: Conservation
    nulled: int = 0
    """Bad values that became null inside good rows."""
    new_columns: tuple[str, ...] = ()
    """Undeclared columns that this run was the first to meet."""
    schema_changes: tuple[str, ...] = ()
    """Of an entity's run: what it was the first to find in the source's columns, one line each."""
    reached: str | None = None
    """Of an entity's run: what its watermark says now."""
    children: tuple["Followed", ...] = ()
    """Of a group's run: the runs of its entities that have begun, in the order of their declaration."""
    chunks: tuple[ChunkEntry, ...] = ()
    """Of a chunked run."""

    @property
    def entity(self) -> str:
        """The entity's name, where the run is one's."""
        return self.run.pipeline.rpartition(".")[2]

    @property
    def records(self) -> int:
        """Rows that are new in the output; of a group's run in all outputs."""
        return sum(child.records for child in self.children) if self.children else self.table.records

    @property
    def fetched(self) -> int | None:
        """Rows in the raw objects that are complete; None where nothing is fetched."""
        return next((hop.passed_on for hop in self.table.hops if hop.name == "fetch"), None)


async def look(session: Session, run_id: str) -> Followed:
    """One run as it stands.

    Raises:
        PermanentError: there is no such run.
    """
    run = await session.ledger.run(run_id)
    if run is None:
        raise PermanentError(f"there is no run {run_id!r}; `tidegate status` lists them")
    return await look_at(session, run)


async def look_at(session: Session, run: Run) -> Followed:
    """A run with its table, and with the runs or chunks that it consists of."""
    if run.mode is RunMode.CHUNKS:
        entries = await session.chunks.chunks(run.run_id)
        return Followed(run, conserve_chunks(run, entries), chunks=tuple(entries))
    segments = await session.ledger.segments(run.run_id)
    begun = [await session.ledger.run(child) for child in run.children]
    return Followed(
        run=run,
        table=conserve(run, segments),
        nulled=sum(segment.counts.nulled for segment in segments),
        new_columns=await _new_columns(session, run),
        schema_changes=await _schema_changes(session, run),
        reached=await _reached(session, run),
        children=tuple([await look_at(session, child) for child in begun if child is not None]),
    )


async def _reached(session: Session, run: Run) -> str | None:
    pipeline = session.pipelines.get(run.pipeline)
    if pipeline is None or not pipeline.is_landed:
        return None
    mark = await session.watermarks.read(pipeline.watermark)
    return None if mark is None else mark.cursor


async def _new_columns(session: Session, run: Run) -> tuple[str, ...]:
    pipeline = session.pipelines.get(run.pipeline)
    if pipeline is None or not pipeline.is_fetched:
        return ()
    return tuple(seen.column for seen in await session.schemas.list(pipeline.watermark) if seen.run_id == run.run_id)


async def _schema_changes(session: Session, run: Run) -> tuple[str, ...]:
    pipeline = session.pipelines.get(run.pipeline)
    if pipeline is None or not pipeline.is_landed:
        return ()
    versions = pairwise(await session.entity_schemas.history(pipeline.watermark))
    return tuple(
        line
        for before, found in versions
        if found.run_id == run.run_id
        for line in changes_between(before.fields, found.fields)
    )


def changes_between(before: Sequence[EntityField], found: Sequence[EntityField]) -> list[str]:
    """How the columns of a later version differ, in words."""
    old, new = ({field.name: field.type for field in fields} for fields in (before, found))
    return [
        *(f"{name} added ({type_})" for name, type_ in new.items() if name not in old),
        *(f"{name} changed: {old[name]} to {type_}" for name, type_ in new.items() if old.get(name, type_) != type_),
        *(f"{name} dropped" for name in old if name not in new),
    ]


async def follow_run(session: Session, run_id: str, timeout_s: float, *, held: Run | None = None) -> Followed:
    """Wait until a run has ended. One that was ``held`` and is asked to go on must have done so first.

    Raises:
        TemporaryError: it has not, after ``timeout_s`` seconds.
        PermanentError: it cannot go on until an operator acts; the text says why.
    """
    deadline = session.clock.monotonic() + timeout_s
    with meter(f"run {run_id}") as progress:
        while True:
            run = await session.ledger.run(run_id)
            begun = run is not None and (held is None or _standing(run) != _standing(held))
            if run is not None and begun:
                progress.update(*await _progress(session, run))
                if run.state in FINAL:
                    return await look(session, run_id)
                if run.reason is not None:
                    raise PermanentError(f"run {run_id} is blocked: {run.reason}")
                if run.paused:
                    raise PermanentError(f"run {run_id} is paused; `tidegate run resume {run_id}` lets it go on")
            if session.clock.monotonic() >= deadline:
                state = f"is still {run.state}" if run is not None and begun else "was not picked up by a planner"
                raise TemporaryError(f"run {run_id} {state} after {timeout_s:g} s")
            await asyncio.sleep(POLL_S)


def _standing(run: Run) -> tuple[object, ...]:
    """What changes when a run goes on, or ends."""
    return run.state, run.paused, run.finished_at


async def _progress(session: Session, run: Run) -> tuple[int, int | None, str]:
    """How many segments of a run are merged, chunks done, or entities of a group ended, and of how many; in words."""
    if run.children:
        begun = [await session.ledger.run(child) for child in run.children]
        return sum(child is not None and child.state in FINAL for child in begun), len(run.children), ""
    if run.mode is RunMode.CHUNKS and run.planned is not None:
        done = sum(chunk.updated or 0 for chunk in await session.chunks.chunks(run.run_id))
        detail = f"{run.settled:,} of {run.planned:,} chunks, {done:,} of {run.scan.listed:,} rows"
        return run.settled, run.planned, detail + (f", {run.failed:,} chunks failed" if run.failed else "")
    # A planned segment becomes several where its rows belong to several files.
    return run.settled, None if run.planned is None else max(run.planned, run.settled), ""


async def outstanding(session: Session) -> int:
    """Messages queued or in flight anywhere, dead-letter queues left out."""

    async def count(name: str) -> int:
        queue = session.settings.resource(name)
        with translated(f"look at queue {queue}"):
            url = (await session.clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
            answer = await session.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        counts = answer["Attributes"]
        return (
            int(counts.get("ApproximateNumberOfMessages", 0))
            + int(counts.get("ApproximateNumberOfMessagesNotVisible", 0))
            + int(counts.get("ApproximateNumberOfMessagesDelayed", 0))
        )

    return sum(await asyncio.gather(*(count(name) for name in session.queue_names())))


async def unsettled(session: Session) -> tuple[int, int, str | None]:
    """Segments and chunks of unfinished runs that are still to be done, and why they are blocked if they are.

    A paused run waits for an operator, not for work.
    """
    segments = chunks = 0
    for run in await session.ledger.runs():
        if run.state in FINAL or run.paused:
            continue
        if run.reason is not None:
            return segments, chunks, f"run {run.run_id} is blocked: {run.reason}"
        if run.mode is RunMode.CHUNKS:
            chunks += max(1, (run.planned or 0) - run.settled - run.failed)  # the last one has still to end the run
            continue
        segments += conserve(run, await session.ledger.segments(run.run_id)).pending_segments
        if run.mode is not RunMode.EVENTS and run.planned is None and not run.children:
            segments += 1
    return segments, chunks, None


async def wait_idle(session: Session, timeout_s: float) -> None:
    """Wait until nothing is queued, in flight or waiting to be merged.

    Raises:
        TemporaryError: there still is, after ``timeout_s`` seconds.
        PermanentError: a run cannot go on until an operator acts.
    """
    deadline = session.clock.monotonic() + timeout_s
    quiet = 0
    most = 0
    with meter("messages") as progress:
        while quiet < IDLE_READINGS:
            messages = await outstanding(session)
            segments, chunks, blocked = await unsettled(session)
            if blocked is not None:
                raise PermanentError(blocked)
            left = messages + segments + chunks
            quiet = 0 if left else quiet + 1
            most = max(most, left)
            progress.update(most - left, most)
            if session.clock.monotonic() >= deadline:
                todo = f"{messages} messages, {segments} segments to merge" + (f", {chunks} chunks" if chunks else "")
                raise TemporaryError(f"not idle after {timeout_s:g} s: {todo}")
            await asyncio.sleep(POLL_S)
