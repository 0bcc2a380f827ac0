"""Making an earlier version of a checkpoint current again, as a new commit."""

from collections.abc import Mapping

import structlog

from contracts.checkpoints import CheckpointRestored, CommitManifest, RestoreCheckpoint
from contracts.pipelines import Pipeline
from services.merger.core.commits import lease_resource
from services.merger.ports import Ports
from services.merger.use_case.commit import Current, checkpoint_name, commit, new_commit_id, standing_despite_damage
from services.merger.use_case.tables import shut_out_others
from services.runtime.checkpoints import STAMP_VERSION, Commit, Head
from services.runtime.failures import ConflictError, MissingObjectError, PermanentError
from services.runtime.leases import Lease, held

log = structlog.get_logger()


async def restore_checkpoint(ports: Ports, pipeline: Pipeline, command: RestoreCheckpoint) -> None:
    """Put an earlier content in place. Versions in between leave the line of history.

    Their rows become eligible again (the next scan merges them anew), unless the command discards them.

    Raises:
        LeaseHeldError: a merge is under way.
        MissingObjectError: there is no such version, or its content has expired.
    """
    name = checkpoint_name(command.destination)
    owner = f"{ports.owner}/{new_commit_id()}"
    resource = lease_resource(pipeline, command.destination, command.scope)
    async with held(ports.leases, resource, owner, ports.lease_ttl_s) as lease:
        current = await standing_despite_damage(ports, pipeline, command.destination)
        history = {c.version: c for c in await ports.checkpoints.history(name)}
        version = next((c.version for c in history.values() if c.commit_id == command.request_id), None)
        if version is None:
            version = await _commit_earlier(ports, pipeline, command, current, history, lease)
        else:
            log.info("restore was committed before", request=command.request_id)
        # After the head, and also if somebody else recorded it: what a scan finds from here on is what was undone.
        if not command.discard:
            await _rewind_sweep(ports, pipeline, command.request_id)
    fact = CheckpointRestored(
        pipeline=pipeline.name,
        destination=command.destination,
        version=version,
        restored_version=command.version,
        request_id=command.request_id,
    )
    await ports.publisher.announce(fact, run_id=command.request_id)


async def _commit_earlier(
    ports: Ports,
    pipeline: Pipeline,
    command: RestoreCheckpoint,
    current: Current,
    history: Mapping[int, Commit],
    lease: Lease,
) -> int:
    if command.version and command.version not in history:
        raise MissingObjectError(f"{command.destination.uri} has no version {command.version}: {sorted(history)}")
    wanted = history.get(command.version)
    if wanted is not None and wanted.object_version is None:
        raise PermanentError(f"s3://{command.destination.bucket} keeps no object versions; nothing to restore from")
    commit_id = command.request_id or new_commit_id()
    earlier = None if wanted is None else wanted.object_version
    without = None
    if earlier is not None and pipeline.is_collected:
        # Rows that came again since may be in other files of the table now; a merger that sleeps may yet bring some.
        await shut_out_others(ports, pipeline, command.scope, command.destination, lease)
        without = await ports.keys.elsewhere(pipeline, command.scope, command.destination, earlier)
        if without:
            log.warning("rows that other files of the table hold stay there", rows=len(without))
    prepared = await ports.strategy.prepare_restored(
        command.destination, pipeline, current.info, earlier, commit_id, without
    )
    stamped = 0 if current.info is None else int(current.info.metadata.get(STAMP_VERSION, 0))
    version = max(current.head.version, stamped) + 1
    undoes = not command.discard and command.version + 1 < version
    returning = await _undone_rows(ports, current.head, history, command.version)
    # A new epoch also for rows that return: their new marks must not take the place of marks that still count.
    marks_anew = undoes or bool(returning)
    epoch = await (ports.checkpoints.next_epoch if marks_anew else ports.checkpoints.epoch)(command.scope)
    manifest = CommitManifest(
        kind="restore",
        pipeline=pipeline.name,
        scope=command.scope,
        destination=command.destination,
        version=version,
        commit_id=commit_id,
        fencing_token=lease.token,
        epoch=epoch,
        committed_at=ports.clock.now().isoformat(),
        parent_manifest=current.head.manifest,
        parent_etag=current.head.etag,
        parent_object_version=current.head.object_version,
        total_rows=prepared.total_rows,
        new_rows=0,
        max_cursor=prepared.max_cursor,
        key_range=prepared.key_range,
        occurrences=returning,
        restored=command.version,
        undone=(command.version + 1, version - 1) if undoes else None,
    )
    await commit(ports, pipeline, current, lease, prepared, manifest)
    return version


async def _undone_rows(ports: Ports, head: Head, history: Mapping[int, Commit], version: int) -> list[str]:
    """Rows of a version that an earlier restore undid: their marks no longer count, so this commit marks them anew.

    A version that still counts stands on versions that still count: there the walk ends.
    """
    rows: list[str] = []
    while version in history and not head.counts(version):
        manifest = await ports.manifests.read(history[version].manifest)
        if manifest.kind == "merge":
            rows += manifest.occurrences
            version -= 1
        else:
            version = manifest.restored or 0
    return rows


async def _rewind_sweep(ports: Ports, pipeline: Pipeline, request_id: str) -> None:
    """The next scan must look at every object again: some that were settled are not any more.

    The version grows even where there is nothing to rewind: a scan that is under way may then not move it.
    """
    while True:
        current = await ports.watermarks.read(pipeline.watermark)
        version = 0 if current is None else current.version
        try:
            await ports.watermarks.reset(pipeline.watermark, None, expected_version=version, run_id=request_id)
        except ConflictError:  # a run moved it in between: look again
            continue
        return
