"""Bringing one chunk to its end while we hold its lease: as it is, or in two parts."""

from collections.abc import Sequence

import structlog

from contracts.chunks import ChunkKeys, ChunkOutcome, PlannedChunk
from services.chunk_worker.core.attempts import Step, comes_again, retry_delay_s, step_of
from services.chunk_worker.core.ends import End, Retry
from services.chunk_worker.core.tasks import Task
from services.chunk_worker.core.words import size_in_words
from services.chunk_worker.ports import Ports, TableState, Work
from services.chunk_worker.use_case.attempt import (
    Blamed,
    Piece,
    attempt,
    blameless_trouble,
    claim,
    refused,
)
from services.chunk_worker.use_case.keeping import enter_done, enter_failed
from services.runtime.chunking.balance import halves, part_ids
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.failures import MalformedError, PermanentError, TemporaryError
from services.runtime.leases import Lease

log = structlog.get_logger()

PLANS_KEPT = 4
NEVER_ENDED = "its last attempt never came to an end: its worker died"


async def work_on(ports: Ports, task: Task, entry: ChunkEntry, lease: Lease) -> End:
    """Work on a chunk that the ledger does not know as done.

    Raises:
        TemporaryError, ConflictError, UnreachableError: not now; the attempt, if there was one, does not count.
    """
    await ports.chunks.chunk_started(task.run_id, task.chunk_id, ports.owner)
    try:
        keys = await _keys(ports, task)
    except PermanentError as error:
        return await enter_failed(ports, task, str(error))
    log.info(size_in_words(task.chunk_id, entry.rows, keys, task.job.job.keys), rows=entry.rows, keys=entry.keys)
    work = Work(task.job, task.run_id, task.chunk_id, lease.token, entry.rows, keys)
    parts = None if keys is None else halves(keys)
    async with blameless_trouble(ports, work):
        ended = await _try(ports, task, work, parts)
    if ended is None:
        return await _as_it_stands(ports, task, work, parts)
    if isinstance(ended, Piece):
        return await _done(ports, task, [ended], parts=0)
    if comes_again(ended.attempts):
        return Retry(ended.reason, retry_delay_s(ended.attempts))
    return await enter_failed(ports, task, ended.reason)


async def _try(
    ports: Ports, task: Task, work: Work, parts: tuple[ChunkKeys, ChunkKeys] | None
) -> Piece | Blamed | None:
    """Claim a chunk and take the next step with it; None if it is split now, or was refused."""
    try:
        claimed = await claim(ports, work)
    except PermanentError as error:
        # The claim itself is refused, so no attempt was counted: the message's receives stand for them.
        if comes_again(task.receives):
            raise TemporaryError(str(error), delay=retry_delay_s(task.receives)) from error
        return Blamed(task.receives, str(error))
    if claimed is None:
        return None
    step = step_of(claimed.attempts, is_part=False, can_split=parts is not None)
    if step is Step.TRY:
        return await attempt(ports, work, claimed)
    if step is Step.GIVE_UP or parts is None:
        return Blamed(claimed.attempts, NEVER_ENDED)
    log.warning("chunk is split", attempts=claimed.attempts)
    await ports.tables.split(work, _named(task, parts))
    return None


async def _as_it_stands(ports: Ports, task: Task, work: Work, parts: tuple[ChunkKeys, ChunkKeys] | None) -> End:
    """A chunk that we may not work on: done, split, or another's."""
    standing = await ports.tables.standing(task.job, task.run_id, task.chunk_id)
    if standing.state is TableState.DONE:
        log.info("chunk is done already")
        return await _done(ports, task, [_found(work, standing.updated_rows)], parts=0)
    if standing.state is TableState.SPLIT and standing.snapshot_run == task.run_id:
        if parts is None:
            raise MalformedError(f"chunk {task.chunk_id} of run {task.run_id} is split, but has one key at most")
        return await _work_on_parts(ports, task, work, parts)
    return await enter_failed(ports, task, refused(standing, work))


async def _work_on_parts(ports: Ports, task: Task, whole: Work, parts: tuple[ChunkKeys, ChunkKeys]) -> End:
    """Work on what is left of a chunk that is split; one part that fails does not keep the other from being done."""
    ended: list[Piece | Blamed] = []
    for (part_id, rows), keys in zip(_named(task, parts), parts, strict=True):
        ended.append(await _work_on_part(ports, Work(task.job, task.run_id, part_id, whole.token, rows, keys)))
    pieces = [each for each in ended if isinstance(each, Piece)]
    if len(pieces) == len(ended):
        return await _done(ports, task, pieces, parts=len(pieces))
    named = zip(part_ids(task.chunk_id), ended, strict=True)
    reasons = [f"part {part_id}: {each.reason}" for part_id, each in named if isinstance(each, Blamed)]
    return await enter_failed(ports, task, "; ".join(reasons))


async def _work_on_part(ports: Ports, work: Work) -> Piece | Blamed:
    async with blameless_trouble(ports, work):
        try:
            claimed = await claim(ports, work)
        except PermanentError as error:
            return Blamed(0, str(error))
        if claimed is not None:
            if step_of(claimed.attempts, is_part=True, can_split=False) is Step.GIVE_UP:
                return Blamed(claimed.attempts, NEVER_ENDED)
            ended = await attempt(ports, work, claimed)
            if ended is not None:
                return ended
    standing = await ports.tables.standing(work.job, work.run_id, work.chunk_id)
    if standing.state is TableState.DONE:
        return _found(work, standing.updated_rows)
    return Blamed(standing.attempts, refused(standing, work))


async def _done(ports: Ports, task: Task, pieces: Sequence[Piece], *, parts: int) -> End:
    outcome = ChunkOutcome(
        chunk_id=task.chunk_id,
        run_id=task.run_id,
        rows=sum(piece.rows for piece in pieces),
        rows_marked=sum(piece.marked for piece in pieces),
        seconds=round(sum(piece.seconds for piece in pieces), 3),
        parts=parts,
    )
    return await enter_done(ports, task, outcome, gone=sum(piece.gone for piece in pieces))


def _found(work: Work, updated: int | None) -> Piece:
    """What was done before; its rows that were not updated were gone, or the update would have been refused."""
    rows = updated or 0
    return Piece(rows, gone=max(work.rows - rows, 0))


def _named(task: Task, parts: tuple[ChunkKeys, ChunkKeys]) -> list[tuple[str, int]]:
    return [(part_id, sum(keys.rows)) for part_id, keys in zip(part_ids(task.chunk_id), parts, strict=True)]


async def _keys(ports: Ports, task: Task) -> ChunkKeys | None:
    planned = await _planned(ports, task)
    return None if planned.sha256 is None else await ports.plans.keys(task.run_id, planned.sha256)


async def _planned(ports: Ports, task: Task) -> PlannedChunk:
    known = ports.memory.plans
    plan = known.get(task.run_id) or await ports.plans.find(task.run_id)
    if plan is None:
        raise MalformedError(f"run {task.run_id} has no plan")
    known[task.run_id] = plan
    while len(known) > PLANS_KEPT:
        del known[next(iter(known))]
    planned = plan.chunk(task.chunk_id)
    if planned is None:
        raise MalformedError(f"the plan of run {task.run_id} has no chunk {task.chunk_id}")
    return planned
