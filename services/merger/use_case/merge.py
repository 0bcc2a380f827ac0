"""Validated segments → one commit per checkpoint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from contracts.checkpoints import CommitManifest, SegmentSettlement
from contracts.pipelines import Pipeline
from contracts.segments import Destination, Settlement
from services.merger.core.commits import (
    SegmentShare,
    lease_resource,
    new_rows,
    share_out,
)
from services.merger.ports import LoadedSegment, Ports, Prepared
from services.merger.use_case.commit import Current, commit, new_commit_id, reconcile
from services.merger.use_case.settling import (
    claim_verdicts,
    count_settled,
    settle_without_rows,
    unsettled,
    until_committed,
)
from services.runtime.leases import Lease
from services.runtime.occurrences import Mark

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()


async def merge_segments(
    ports: Ports, pipeline: Pipeline, destination: Destination, segments: Sequence[LoadedSegment]
) -> None:
    """Add the rows of these segments to their checkpoint, each occurrence exactly once.

    Raises:
        LeaseHeldError: another merger works on this checkpoint.
        TemporaryError: the swap was lost again and again.
        CorruptCheckpointError: the checkpoint is not what was committed; nothing was changed.
    """

    async def attempt(lease: Lease) -> None:
        await _merge_under_lease(ports, pipeline, destination, segments, lease)

    scope = segments[0].descriptor.scope
    await until_committed(ports, lease_resource(pipeline, destination, scope), destination.uri, attempt)


async def _merge_under_lease(
    ports: Ports, pipeline: Pipeline, destination: Destination, segments: Sequence[LoadedSegment], lease: Lease
) -> None:
    current = await reconcile(ports, pipeline, destination)
    waiting = await unsettled(ports, pipeline, segments)
    if not waiting:
        return
    scope = waiting[0].descriptor.scope
    epoch = await ports.checkpoints.epoch(scope)
    shares = await _share_out(ports, waiting, current, epoch)
    parts = list(zip(waiting, shares, strict=True))
    if any(share.new_rows for share in shares):
        await commit_rows(ports, pipeline, current, lease, epoch, parts)
    else:
        await settle_without_rows(ports, pipeline, parts)


async def _share_out(
    ports: Ports, segments: Sequence[LoadedSegment], current: Current, epoch: int
) -> list[SegmentShare]:
    scope = segments[0].descriptor.scope
    settling = [v.occurrence for s in segments for v in s.descriptor.verdicts if v.settles]
    wanted = [o for s in segments for o in s.occurrences] + settling
    marks = await ports.occurrences.find(scope, wanted, epoch=epoch)
    heads = {current.head.checkpoint: current.head}
    for name in {mark.checkpoint for found in marks.values() for mark in found if mark.checkpoint} - heads.keys():
        heads[name] = await ports.checkpoints.head(name)

    def live(mark: Mark) -> bool:
        return heads[mark.checkpoint].counts(mark.version)

    contents = [(s.descriptor, s.occurrences) for s in segments]
    new = new_rows(contents, marks, live)
    merging = {carried[i] for (_, carried), positions in zip(contents, new, strict=True) for i in positions}
    claimed = await claim_verdicts(ports, [s.descriptor for s in segments], marks, live, merging, epoch)
    return share_out([(about, len(carried)) for about, carried in contents], new, claimed)


async def commit_rows(
    ports: Ports,
    pipeline: Pipeline,
    current: Current,
    lease: Lease,
    epoch: int,
    parts: Sequence[tuple[LoadedSegment, SegmentShare]],
) -> None:
    """Commit the new rows of these segments to the one checkpoint they belong to.

    Raises:
        ConflictError: somebody else committed; nothing of ours is visible.
    """
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
        key_range=prepared.key_range,
        segments=settlements,
        occurrences=[segment.occurrences[i] for segment, share in parts if segment.occurrences for i in share.new_rows],
    )
    with ports.telemetry.segment("commit"):
        await commit(ports, pipeline, current, lease, prepared, manifest)
    _report(ports, pipeline, [s.settlement for s in settlements], manifest, prepared, started)


def _new_rows(parts: Sequence[tuple[LoadedSegment, SegmentShare]]) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 - at module level it would make the pure parts of the service pay for it

    # Typed, because a segment of duplicates alone takes nothing, and nothing has no type of its own.
    tables = [
        segment.rows
        if len(share.new_rows) == segment.rows.num_rows  # positions are distinct, so these are all
        else segment.rows.take(pa.array(share.new_rows, pa.int64()))
        for segment, share in parts
    ]
    return pa.concat_tables(tables)


def _report(
    ports: Ports,
    pipeline: Pipeline,
    settlements: Sequence[Settlement],
    manifest: CommitManifest,
    prepared: Prepared,
    started: float,
) -> None:
    elapsed = (ports.clock.monotonic() - started) * 1000
    count_settled(ports, pipeline.name, settlements)
    metric = ports.telemetry.metric
    metric("NewEventsProcessed", manifest.new_rows, pipeline=pipeline.name)
    metric("TotalEvents", manifest.total_rows, pipeline=pipeline.name)
    metric("CheckpointFileSize", prepared.size, "Bytes", pipeline=pipeline.name)
    metric("ExecutionTime", elapsed, "Milliseconds", pipeline=pipeline.name)
    metric("Merges", 1, pipeline=pipeline.name, strategy=prepared.strategy)
    metric("IncrementalRun", 0 if manifest.version == 1 else 1, pipeline=pipeline.name)
