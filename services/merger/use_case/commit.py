"""The commit protocol of a checkpoint (docs/commit-protocol.md).

A commit *is* the compare-and-swap on the object. Around it:

    manifest (write-ahead) → intent (fence) → lease still trusted? → swap → settle

``settle`` writes what follows from a commit that did happen: marks → ledger → announcement → head → end of runs.
Every part is idempotent and derives from the manifest alone, so whoever finds a commit that is not settled yet
settles it first (``reconcile``); nobody needs to know how its author died.
"""

from dataclasses import dataclass
from uuid import uuid4

import structlog

from contracts.checkpoints import CheckpointMerged, CommitManifest
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.segments import Destination
from services.merger.core.commits import STAMP_COMMIT, STAMP_MANIFEST, Standing, compare
from services.merger.ports import Ports, Prepared
from services.runtime.checkpoints import STAMP_VERSION, Commit, Head
from services.runtime.failures import ConflictError, CorruptCheckpointError, TidegateError, UnreachableError
from services.runtime.leases import TRUST, Lease
from services.runtime.ledger import Run
from services.runtime.objects import ObjectInfo

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Current:
    """A checkpoint as a commit finds it: recorded up to date, with the object to build on."""

    head: Head
    info: ObjectInfo | None


def checkpoint_name(destination: Destination) -> str:
    """The name under which heads, leases and marks know a checkpoint."""
    return f"{destination.bucket}/{destination.key}"


def note_of(manifest: CommitManifest) -> str:
    """The note that a commit to a table is about to be tried.

    It has fencing token and version, so that a merger which is late takes back its own note and not a younger one.
    """
    return f"{manifest.fencing_token}.{manifest.version}@{checkpoint_name(manifest.destination)}"


def noted(note: str) -> Destination:
    """Where a noted commit goes."""
    bucket, _, key = note.partition("/")
    return Destination(bucket=bucket.rpartition("@")[2], key=key)


def new_commit_id() -> str:
    """A name for one attempt to commit."""
    return uuid4().hex


async def reconcile(ports: Ports, pipeline: Pipeline, destination: Destination) -> Current:
    """Settle every commit that happened but is not recorded, and say what the next one builds on.

    Raises:
        CorruptCheckpointError: the object is not what was committed.
    """
    name = checkpoint_name(destination)
    head = await ports.checkpoints.head(name)
    info = await ports.objects.head(destination.bucket, destination.key)
    standing = compare(head, info, destination.uri)
    if standing is Standing.AHEAD and info is not None:
        await _roll_forward(ports, pipeline, head, info)
        head = await ports.checkpoints.head(name)
    elif standing is Standing.FOREIGN:
        log.info("adopting a checkpoint that another writer made", uri=destination.uri)
    return Current(head, info)


async def _roll_forward(ports: Ports, pipeline: Pipeline, head: Head, info: ObjectInfo) -> None:
    """Walk the manifests back from the object to the head, then settle them in order."""
    pending: list[tuple[CommitManifest, str, str, str | None]] = []
    key: str | None = info.metadata[STAMP_MANIFEST]
    etag, object_version = info.etag, info.version_id
    while key is not None:
        manifest = await ports.manifests.read(key)
        if manifest.version <= head.version:
            break
        pending.append((manifest, key, etag, object_version))
        key, etag, object_version = manifest.parent_manifest, manifest.parent_etag or "", manifest.parent_object_version
    for manifest, manifest_key, its_etag, its_version in reversed(pending):
        log.warning("settling a commit whose merger died", version=manifest.version, commit=manifest.commit_id)
        while await ports.checkpoints.epoch(manifest.scope) < manifest.epoch:  # lost with the table
            await ports.checkpoints.next_epoch(manifest.scope)
        await _reopen_runs(ports, manifest)
        await settle(ports, pipeline, manifest, manifest_key, its_etag, its_version)


async def _reopen_runs(ports: Ports, manifest: CommitManifest) -> None:
    """Enter the commit's runs and segments again if the ledger was lost; what is there is left alone."""
    for segment in manifest.segments:
        await reopen_run(ports, manifest.pipeline, segment.run_id, manifest.committed_at)
        await ports.ledger.segment_validated(
            segment.run_id, segment.segment_id, segment.counts, f"{segment.bucket}/{segment.key}"
        )


async def reopen_run(ports: Ports, pipeline: str, run_id: str, started_at: str) -> None:
    """Open a run whose segments outlived the ledger; how it was planned is not known any more."""
    if await ports.ledger.run(run_id) is None:
        run = Run(run_id=run_id, pipeline=pipeline, mode=RunMode.EVENTS, state=RunState.RUNNING, started_at=started_at)
        await ports.ledger.open_run(run)


async def commit(
    ports: Ports,
    pipeline: Pipeline,
    current: Current,
    lease: Lease,
    prepared: Prepared,
    manifest: CommitManifest,
) -> None:
    """Swap a prepared content in, and settle it.

    Raises:
        ConflictError: somebody else committed; nothing of ours is visible.
        StaleLeaseError: our lease expired or a younger one was granted; nothing of ours is visible.
    """
    key = await ports.manifests.write(manifest)
    lease = await _kept(ports, lease)
    if pipeline.is_collected:
        await ports.checkpoints.begin(manifest.scope, note_of(manifest))
    await ports.checkpoints.intend(current.head, lease.token)
    lease.check(ports.clock)
    metadata = {STAMP_VERSION: str(manifest.version), STAMP_COMMIT: manifest.commit_id, STAMP_MANIFEST: key}
    try:
        with ports.telemetry.segment("put"):
            info = await prepared.put(metadata)
    except (ConflictError, UnreachableError) as error:
        info = await _after_unknown_outcome(ports, manifest, error)
    await settle(ports, pipeline, manifest, key, info.etag, info.version_id)
    if prepared.at_hand is not None:
        await ports.keys.remember(pipeline, manifest.destination.bucket, info, prepared.at_hand)
    log.info(
        "committed",
        kind=manifest.kind,
        checkpoint=manifest.destination.uri,
        version=manifest.version,
        strategy=prepared.strategy,
        new_rows=manifest.new_rows,
        total_rows=manifest.total_rows,
        bytes=prepared.size,
        segments=len(manifest.segments),
        fencing_token=manifest.fencing_token,
    )


async def _kept(ports: Ports, lease: Lease) -> Lease:
    """The lease, renewed when preparing took half of what it may be trusted for."""
    left = lease.trusted_until - ports.clock.monotonic()
    return lease if left > ports.lease_ttl_s * TRUST / 2 else await ports.leases.renew(lease, ports.lease_ttl_s)


async def _after_unknown_outcome(ports: Ports, manifest: CommitManifest, error: TidegateError) -> ObjectInfo:
    """A refused swap may be our own, retried by the SDK after its first answer was lost: the stamp tells."""
    info = await ports.objects.head(manifest.destination.bucket, manifest.destination.key)
    if info is not None and info.metadata.get(STAMP_COMMIT) == manifest.commit_id:
        return info
    log.warning("commit refused", checkpoint=manifest.destination.uri, version=manifest.version, error=str(error))
    raise ConflictError(f"{manifest.destination.uri}: version {manifest.version} was not committed: {error}") from error


async def settle(
    ports: Ports,
    pipeline: Pipeline,
    manifest: CommitManifest,
    manifest_key: str,
    etag: str,
    object_version: str | None,
) -> None:
    """Record a commit that did happen.

    The head comes after all that is recorded: at version N, everything up to N is. Runs end after the head, so that
    who sees a run succeed finds its rows in the head; if we die in between, the redelivered segment ends the run.
    """
    name = checkpoint_name(manifest.destination)
    await ports.checkpoints.register(manifest.scope, name)
    await ports.occurrences.mark_rows(
        manifest.scope, manifest.occurrences, epoch=manifest.epoch, checkpoint=name, version=manifest.version
    )
    for segment in manifest.segments:
        await ports.ledger.segment_merged(
            segment.run_id,
            segment.segment_id,
            segment.settlement,
            location=f"{segment.bucket}/{segment.key}",
            version=manifest.version,
        )
    if manifest.kind == "merge" and manifest.segments:
        fact = CheckpointMerged(
            pipeline=pipeline.name,
            destination=manifest.destination,
            version=manifest.version,
            commit_id=manifest.commit_id,
            new_rows=manifest.new_rows,
            total_rows=manifest.total_rows,
        )
        await ports.publisher.announce(fact, run_id=manifest.segments[0].run_id)
    await ports.checkpoints.record(
        name,
        Commit(
            version=manifest.version,
            kind=manifest.kind,
            commit_id=manifest.commit_id,
            manifest=manifest_key,
            etag=etag,
            object_version=object_version,
            total_rows=manifest.total_rows,
            new_rows=manifest.new_rows,
            committed_at=manifest.committed_at,
            max_cursor=manifest.max_cursor,
            key_range=manifest.key_range,
        ),
        manifest.undone,
    )
    if pipeline.is_collected:
        await ports.checkpoints.end(manifest.scope, note_of(manifest))
    for run_id in sorted({segment.run_id for segment in manifest.segments}):
        await ports.completion.complete(run_id, pipeline.watermark)


async def standing_despite_damage(ports: Ports, pipeline: Pipeline, destination: Destination) -> Current:
    """Like ``reconcile``, for a restore: a damaged object is exactly what it is there to replace."""
    try:
        return await reconcile(ports, pipeline, destination)
    except CorruptCheckpointError as error:
        log.warning("restoring over a damaged checkpoint", error=str(error))
        head = await ports.checkpoints.head(checkpoint_name(destination))
        return Current(head, await ports.objects.head(destination.bucket, destination.key))
