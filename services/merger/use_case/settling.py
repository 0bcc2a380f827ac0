"""What every merge shares: trying until committed, telling what still waits, and settling what yields no row."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from contracts.pipelines import Pipeline
from contracts.segments import SegmentDescriptor, Settlement
from services.merger.core.commits import Live, SegmentShare, blocks_verdict, claimant
from services.merger.ports import LoadedSegment, Ports
from services.merger.use_case.commit import new_commit_id, reopen_run
from services.runtime.failures import ConflictError, StaleLeaseError, TemporaryError
from services.runtime.leases import Lease, held
from services.runtime.ledger import Step
from services.runtime.occurrences import Mark

log = structlog.get_logger()

ATTEMPTS = 5
"""Times a merge starts over after losing the swap, before it lets the queue bring its segments back."""


async def until_committed(ports: Ports, resource: str, what: str, attempt: Callable[[Lease], Awaitable[None]]) -> None:
    """Try under a lease of the resource; start over when somebody else committed first.

    Raises:
        LeaseHeldError: another merger holds it.
        TemporaryError: the swap was lost again and again.
    """
    for number in range(ATTEMPTS):
        owner = f"{ports.owner}/{new_commit_id()}"
        try:
            async with held(ports.leases, resource, owner, ports.lease_ttl_s) as lease:
                await attempt(lease)
        except StaleLeaseError as error:
            log.warning("commit refused: the lease is no longer ours", error=str(error), attempt=number)
        except ConflictError as error:
            log.warning("somebody else committed first; starting over", error=str(error), attempt=number)
        else:
            return
    raise TemporaryError(f"{what}: lost the commit {ATTEMPTS} times", delay=5.0)


async def unsettled(ports: Ports, pipeline: Pipeline, segments: Sequence[LoadedSegment]) -> list[LoadedSegment]:
    """The segments that still wait for a merge, with their runs and entries in the ledger whatever was lost."""
    for run_id in sorted({s.descriptor.run_id for s in segments}):
        await reopen_run(ports, pipeline.name, run_id, ports.clock.now().isoformat())
    return [s for s in segments if not await _is_settled(ports, pipeline, s)]


async def settle_without_rows(
    ports: Ports, pipeline: Pipeline, parts: Sequence[tuple[LoadedSegment, SegmentShare]]
) -> None:
    """Enter segments that bring no new row: there is nothing to commit."""
    for segment, share in parts:
        about = segment.descriptor
        await ports.ledger.segment_merged(
            about.run_id,
            about.segment_id,
            share.settlement,
            location=f"{segment.bucket}/{segment.key}",
            version=None,
        )
    if parts:
        count_settled(ports, pipeline.name, [share.settlement for _, share in parts])
    for run_id in sorted({segment.descriptor.run_id for segment, _ in parts}):
        await ports.completion.complete(run_id, pipeline.watermark)


def count_settled(ports: Ports, pipeline: str, settlements: Sequence[Settlement]) -> None:
    """Record what became of the rows of some segments; rows that were there already are duplicates."""
    new = sum(each.merged for each in settlements)
    known = sum(each.row_duplicates for each in settlements)
    metric = ports.telemetry.metric
    metric("RowsIn", new + known, pipeline=pipeline)
    metric("RowsOut", new, pipeline=pipeline)
    metric("Duplicates", known + sum(each.verdict_duplicates for each in settlements), pipeline=pipeline)


async def _is_settled(ports: Ports, pipeline: Pipeline, segment: LoadedSegment) -> bool:
    """Whether the ledger has this segment as merged; enters it as validated if its validator died before."""
    about = segment.descriptor
    entry = await ports.ledger.segment(about.run_id, about.segment_id)
    if entry is not None and entry.step is Step.MERGED:
        await ports.completion.complete(about.run_id, pipeline.watermark)
        return True
    if entry is None or entry.step is not Step.VALIDATED:
        await ports.ledger.segment_validated(
            about.run_id, about.segment_id, about.counts, f"{segment.bucket}/{segment.key}"
        )
    return False


async def claim_verdicts(
    ports: Ports,
    segments: Sequence[SegmentDescriptor],
    marks: Mapping[str, Sequence[Mark]],
    live: Live,
    merging: Collection[str],
    epoch: int,
) -> dict[tuple[str, str], bool]:
    """Settle what yields no row, each for one segment; says of each (claimant, occurrence) whether it is its own.

    A row of this very batch (``merging``) wins: the object was found missing by one reader and good by another.
    """
    claimed: dict[tuple[str, str], bool] = {}
    for about in segments:
        name = claimant(about)
        for verdict in about.verdicts:
            if not verdict.settles:
                continue
            blocked = verdict.occurrence in merging or blocks_verdict(
                marks.get(verdict.occurrence, ()), live, name, replay=about.replay
            )
            claimed[name, verdict.occurrence] = not blocked and await ports.occurrences.claim(
                about.scope, verdict, segment_id=name, epoch=epoch, replay=about.replay
            )
    return claimed
