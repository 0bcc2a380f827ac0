"""Validated segments → one commit per checkpoint."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import structlog

from contracts.checkpoints import CommitManifest, SegmentSettlement
from contracts.pipelines import Pipeline
from contracts.segments import Destination, Settlement
from services.merger.core import SegmentShare, blocks_verdict, claimant, new_rows, share_out
from services.merger.ports import LoadedSegment, Ports
from services.merger.use_case.commit import Current, checkpoint_name, commit, new_commit_id, reconcile, reopen_run
from services.runtime.failures import ConflictError, StaleLeaseError, TemporaryError
from services.runtime.leases import Lease, held
from services.runtime.ledger import Step
from services.runtime.occurrences import Mark

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()

ATTEMPTS = 5
"""Times a merge starts over after losing the swap, before it lets the queue bring its segments back."""


async def merge_segments(
    ports: Ports, pipeline: Pipeline, destination: Destination, segments: Sequence[LoadedSegment]
) -> None:
    """Add the rows of these segments to their checkpoint, each occurrence exactly once.

    Raises:
        LeaseHeldError: another merger works on this checkpoint.
        TemporaryError: the swap was lost again and again.
        CorruptCheckpointError: the checkpoint is not what was committed; nothing was changed.
    """
    resource = f"checkpoint:{checkpoint_name(destination)}"
    for attempt in range(ATTEMPTS):
        owner = f"{ports.owner}/{new_commit_id()}"
        try:
            async with held(ports.leases, resource, owner, ports.lease_ttl_s) as lease:
                await _merge_under_lease(ports, pipeline, destination, segments, lease)
        except StaleLeaseError as error:
            log.warning("commit refused: the lease is no longer ours", error=str(error), attempt=attempt)
        except ConflictError as error:
            log.warning("somebody else committed first; starting over", error=str(error), attempt=attempt)
        else:
            return
    raise TemporaryError(f"{destination.uri}: lost the commit {ATTEMPTS} times", delay=5.0)


async def _merge_under_lease(
    ports: Ports, pipeline: Pipeline, destination: Destination, segments: Sequence[LoadedSegment], lease: Lease
) -> None:
    current = await reconcile(ports, pipeline, destination)
    for run_id in sorted({s.descriptor.run_id for s in segments}):
        await reopen_run(ports, pipeline.name, run_id, ports.clock.now().isoformat())
    waiting = [s for s in segments if not await _is_settled(ports, pipeline, s)]
    if not waiting:
        return
    scope = waiting[0].descriptor.scope
    epoch = await ports.checkpoints.epoch(scope)
    shares = await _share_out(ports, waiting, current, epoch)
    if any(share.new_rows for share in shares):
        await _commit_rows(ports, pipeline, current, lease, epoch, list(zip(waiting, shares, strict=True)))
        return
    for segment, share in zip(waiting, shares, strict=True):
        about = segment.descriptor
        await ports.ledger.segment_merged(
            about.run_id,
            about.segment_id,
            share.settlement,
            location=f"{segment.bucket}/{segment.key}",
            version=None,
        )
    for run_id in sorted({s.descriptor.run_id for s in waiting}):
        await ports.completion.complete(run_id, pipeline.watermark)


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


async def _share_out(
    ports: Ports, segments: Sequence[LoadedSegment], current: Current, epoch: int
) -> list[SegmentShare]:
    scope = segments[0].descriptor.scope
    settling = [(s, v) for s in segments for v in s.descriptor.verdicts if v.settles]
    wanted = [o for s in segments for o in s.occurrences] + [v.occurrence for _, v in settling]
    marks = await ports.occurrences.find(scope, wanted, epoch=epoch)
    heads = {current.head.checkpoint: current.head}
    for name in {mark.checkpoint for found in marks.values() for mark in found if mark.checkpoint} - heads.keys():
        heads[name] = await ports.checkpoints.head(name)

    def live(mark: Mark) -> bool:
        return heads[mark.checkpoint].counts(mark.version)

    contents = [(s.descriptor, s.occurrences) for s in segments]
    new = new_rows(contents, marks, live)
    merging = {carried[i] for (_, carried), positions in zip(contents, new, strict=True) for i in positions}
    claimed: dict[tuple[str, str], bool] = {}
    for segment, verdict in settling:
        about = segment.descriptor
        name = claimant(about)
        # A row of this very batch wins: the object was found missing by one reader and good by another.
        blocked = verdict.occurrence in merging or blocks_verdict(
            marks.get(verdict.occurrence, ()), live, name, replay=about.replay
        )
        claimed[name, verdict.occurrence] = not blocked and await ports.occurrences.claim(
            scope, verdict, segment_id=name, epoch=epoch, replay=about.replay
        )
    return share_out(contents, new, claimed)


async def _commit_rows(
    ports: Ports,
    pipeline: Pipeline,
    current: Current,
    lease: Lease,
    epoch: int,
    parts: Sequence[tuple[LoadedSegment, SegmentShare]],
) -> None:
    started = ports.clock.monotonic()
    destination = parts[0][0].descriptor.destination
    commit_id = new_commit_id()
    with ports.telemetry.segment("merge"):
        prepared = await ports.strategy.prepare(destination, pipeline, current.info, _new_rows(parts), commit_id)
    settlements = [
        SegmentSettlement(
            run_id=segment.descriptor.run_id,
            segment_id=segment.descriptor.segment_id,
            bucket=segment.bucket,
            key=segment.key,
            counts=segment.descriptor.counts,
            settlement=share.settlement,
        )
        for segment, share in parts
    ]
    new_rows = sum(share.settlement.merged for _, share in parts)
    manifest = CommitManifest(
        kind="merge",
        pipeline=pipeline.name,
        scope=parts[0][0].descriptor.scope,
        destination=destination,
        version=current.head.version + 1,
        commit_id=commit_id,
        fencing_token=lease.token,
        epoch=epoch,
        committed_at=ports.clock.now().isoformat(),
        parent_manifest=current.head.manifest,
        parent_etag=current.head.etag,
        parent_object_version=current.head.object_version,
        total_rows=prepared.total_rows,
        new_rows=new_rows,
        max_cursor=prepared.max_cursor,
        segments=settlements,
        occurrences=[segment.occurrences[i] for segment, share in parts for i in share.new_rows],
    )
    await commit(ports, pipeline, current, lease, prepared, manifest)
    _report(ports, pipeline, [s.settlement for s in settlements], manifest, prepared.size, started)


def _new_rows(parts: Sequence[tuple[LoadedSegment, SegmentShare]]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 - at module level it would make the pure parts of the service pay for it

    # Typed, because a segment of duplicates alone takes nothing, and nothing has no type of its own.
    tables = [segment.rows.take(pa.array(share.new_rows, pa.int64())) for segment, share in parts]
    return pa.concat_tables(tables)


def _report(
    ports: Ports,
    pipeline: Pipeline,
    settlements: Sequence[Settlement],
    manifest: CommitManifest,
    size: int,
    started: float,
) -> None:
    duplicates = reduce(lambda total, s: total + s.row_duplicates + s.verdict_duplicates, settlements, 0)
    elapsed = (ports.clock.monotonic() - started) * 1000
    metric = ports.telemetry.metric
    metric("NewEventsProcessed", manifest.new_rows, pipeline=pipeline.name)
    metric("TotalEvents", manifest.total_rows, pipeline=pipeline.name)
    metric("Duplicates", duplicates, pipeline=pipeline.name)
    metric("CheckpointFileSize", size, "Bytes", pipeline=pipeline.name)
    metric("ExecutionTime", elapsed, "Milliseconds", pipeline=pipeline.name)
    metric("IncrementalRun", 0 if manifest.version == 1 else 1, pipeline=pipeline.name)
