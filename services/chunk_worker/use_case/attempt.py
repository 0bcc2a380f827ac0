"""One attempt at a chunk or at a part of one: claim → update. Both are transactions that refuse stale holders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from services.chunk_worker.core.pace import is_marked, pace_after
from services.chunk_worker.core.words import marked_in_words, rate_in_words, updated_in_words
from services.chunk_worker.ports import Claimed, NoSlotError, Ports, Standing, Updated, Work
from services.runtime.failures import (
    ConflictError,
    PermanentError,
    StaleLeaseError,
    TemporaryError,
    TidegateError,
    UnreachableError,
)

log = structlog.get_logger()

GIVE_BACK_S = 5.0
"""Longest time that a stopping worker spends on giving its attempt back; otherwise the attempt counts."""
AGAIN_S = 1.0
SLOT_PATIENCE_S = 60.0
"""Longest wait for a slot with the chunk in hand. Giving it back at once would use up its message's receives."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk, or a part of one, that is done."""

    rows: int
    gone: int = 0
    marked: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Blamed:
    """The attempt failed for reasons that are the chunk's own."""

    attempts: int
    reason: str


async def claim(ports: Ports, work: Work) -> Claimed | None:
    """Claim a chunk, and mark its rows if people should see that; None if it is refused.

    A chunk that cannot be marked is worked on all the same: the marks are for people only.
    """
    name, chunks = work.job.name, work.job.job.chunks
    can_mark = work.job.job.sql.mark is not None and work.keys is not None
    if can_mark and is_marked(work.rows, ports.memory.paces.get(name), chunks.mark_after_s):
        try:
            with ports.telemetry.segment("mark"):
                claimed = await ports.tables.claim(work, mark=True)
        except PermanentError as error:
            log.warning("rows not marked", error=str(error))
            await ports.tables.blameless(work)  # it was claimed for all that, and the next claim is the same attempt
        else:
            if claimed is not None:
                log.info(marked_in_words(work.chunk_id, claimed.marked), rows=claimed.marked)
                ports.telemetry.metric("RowsMarked", claimed.marked, pipeline=name)
            return claimed
    return await ports.tables.claim(work, mark=False)


async def attempt(ports: Ports, work: Work, claimed: Claimed) -> Piece | Blamed | None:
    """Work on a claimed chunk; None if the fence refuses it."""
    name = work.job.name
    try:
        with ports.telemetry.segment("update"):
            updated, seconds = await _updated(ports, work)
    except PermanentError as error:
        log.warning("attempt failed", attempt=claimed.attempts, error=str(error), kind=type(error).__name__)
        ports.telemetry.metric("AttemptsFailed", 1, pipeline=name)
        return Blamed(claimed.attempts, str(error))
    if updated is None:
        return None
    pace = pace_after(ports.memory.paces.get(name), updated.rows, seconds)
    if pace is not None:
        ports.memory.paces[name] = pace
    log.info(
        updated_in_words(work.chunk_id, updated.rows, seconds),
        rows=updated.rows,
        gone=updated.gone,
        seconds=round(seconds, 3),
        attempt=claimed.attempts,
    )
    log.info(rate_in_words(work.chunk_id, updated.rows, seconds))
    return Piece(updated.rows, updated.gone, claimed.marked, round(seconds, 3))


async def _updated(ports: Ports, work: Work) -> tuple[Updated | None, float]:
    """Update once there is a slot; what came of it, and its seconds without the wait.

    Raises:
        NoSlotError: there was none for a long time.
    """
    until = ports.clock.monotonic() + SLOT_PATIENCE_S
    while True:
        started = ports.clock.monotonic()
        try:
            updated = await ports.tables.update(work)
        except NoSlotError as error:
            if started >= until:
                raise
            await asyncio.sleep(error.delay)
        else:
            return updated, ports.clock.monotonic() - started


@asynccontextmanager
async def blameless_trouble(ports: Ports, work: Work) -> AsyncIterator[None]:
    """An attempt that ends for reasons that are not the chunk's, here or by being stopped, does not count."""
    try:
        yield
    except (TemporaryError, ConflictError, UnreachableError, asyncio.CancelledError):
        await _give_back(ports, work)
        raise


async def _give_back(ports: Ports, work: Work) -> None:
    try:
        async with asyncio.timeout(GIVE_BACK_S):
            await ports.tables.blameless(work)
    except (TidegateError, TimeoutError) as error:
        log.warning("attempt not given back: it counts", error=str(error))


def refused(standing: Standing, work: Work) -> str:
    """Why a chunk that is neither done nor split was refused, if it always will be.

    Raises:
        StaleLeaseError: a younger holder has it.
        TemporaryError: it changed while we looked.
    """
    if standing.snapshot_run != work.run_id:
        return foreign_snapshot(standing.snapshot_run, work.run_id)
    if standing.token > work.token:
        raise StaleLeaseError(f"chunk {work.chunk_id}: token {standing.token} has claimed it, ours is {work.token}")
    raise TemporaryError(f"chunk {work.chunk_id} was refused, and is as it was before", delay=AGAIN_S)


def foreign_snapshot(present: str | None, run_id: str) -> str:
    """What is wrong when the snapshot is not the run's."""
    whose = "there is no snapshot" if present is None else f"the snapshot is run {present}'s now"
    return f"{whose}: nothing more can be done for run {run_id}"
