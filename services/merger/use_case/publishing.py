"""Publishing a load: one manifest per version of an entity is the commit, and parts follow from it (docs/bronze.md).

    everything before it settled → manifest (created once) → groups → settled

A manifest can be created only as the version after the newest, and only when all before it are settled. So whoever has
it knows every row of its generation, and a publisher that slept finds its version taken. The lease only spares work.
"""

import asyncio
from uuid import uuid4

import structlog

from contracts.loads import LandedSegment, LoadManifest, SourceSegment, WriteParts
from contracts.pipelines import Pipeline
from contracts.runs import LoadType, RunMode
from services.merger.core.loads import (
    folder_of,
    generation_of,
    greatest,
    ingestion_id,
    least,
    next_numbers,
    plan_groups,
)
from services.merger.ports import Ports, StoredManifest
from services.merger.use_case.carrying import (
    carry_out,
    known_to,
    manifest_of,
    name_of,
    settle,
    target_of,
    unsettled,
    write_group,
)
from services.runtime.completion import ENDED
from services.runtime.failures import ConflictError, MalformedError, TemporaryError
from services.runtime.leases import held
from services.runtime.ledger import Run, SegmentEntry

log = structlog.get_logger()

QUEUE = "write-parts"
ATTEMPTS = 5
"""Times a version is taken by somebody else before the queue brings the segment back."""
READS_IN_FLIGHT = 16


async def publish(ports: Ports, pipeline: Pipeline, run: Run, segments: list[SegmentEntry]) -> None:
    """Put a load whose segments are all validated into bronze, or into the hands of several mergers.

    Raises:
        LeaseHeldError: another merger is at it.
        TemporaryError: others kept taking the next version.
        CorruptCheckpointError: the state or a landing file is not what it was.
    """
    async with held(ports.leases, f"load:{pipeline.name}", f"{ports.owner}/{uuid4().hex}", ports.lease_ttl_s):
        for attempt in range(ATTEMPTS):
            tip = await catch_up(ports, pipeline, run.run_id)
            if tip is None or await _is_over(ports, run) or await _is_overtaken(ports, pipeline, run):
                return
            manifest = await _decide(ports, pipeline, run, segments, tip)
            try:
                await ports.loads.create(manifest)
            except ConflictError as error:
                log.warning("the version is taken; starting over", error=str(error), attempt=attempt)
        if await catch_up(ports, pipeline, run.run_id) is not None:
            raise TemporaryError(f"{pipeline.name}: others took the next version {ATTEMPTS} times")


async def catch_up(ports: Ports, pipeline: Pipeline, run_id: str) -> int | None:
    """Carry out every manifest that was not, oldest first, until the run's own one: that is seen to, too.

    Returns:
        The newest version, with all up to it settled and none of them the run's; None if the run has one.
    """
    name = name_of(ports, pipeline)
    head = await ports.checkpoints.head(name)
    published = {commit.version: commit.commit_id for commit in await ports.checkpoints.history(name)}
    for version in range(1, head.version + 1):
        if version not in published:
            published[version] = (await manifest_of(ports, pipeline, version)).manifest.run_id
        if published[version] == run_id:
            await settle(ports, pipeline, await manifest_of(ports, pipeline, version))
            return None
    tip = head.version
    for stored in await unsettled(ports, pipeline, head):
        if stored.manifest.run_id == run_id:
            await _see_to(ports, pipeline, stored)
            return None
        log.warning("carrying out a load whose merger died", version=stored.manifest.version)
        await carry_out(ports, pipeline, stored)
        tip = stored.manifest.version
    return tip


async def _is_over(ports: Ports, run: Run) -> bool:
    """Whether the run ended while others were carried out."""
    now = await ports.ledger.run(run.run_id)
    return now is not None and now.state in ENDED


async def _is_overtaken(ports: Ports, pipeline: Pipeline, run: Run) -> bool:
    """Whether a load went further than this full one while it was read: then readers would forget what that brought.

    Everything before is settled, so that the watermark says how far loads have come. Such a run fails; bronze stays.
    """
    covered, watermark = run.collection, await ports.watermarks.read(pipeline.watermark)
    if run.mode is not RunMode.FULL or covered is None or watermark is None or watermark.cursor is None:
        return False
    if watermark.version == run.watermark_version or watermark.cursor <= covered.end:
        return False
    await ports.completion.fail(
        run,
        f"run {watermark.run_id} brought changes up to {watermark.cursor} while this full load was read up to"
        f" {covered.end}; run it again",
    )
    return True


async def _see_to(ports: Ports, pipeline: Pipeline, stored: StoredManifest) -> None:
    """Write a load that is small; let whoever has time write the groups of one that is not."""
    manifest = stored.manifest
    done = await ports.loads.finished(manifest)
    missing = [number for number in range(len(manifest.groups)) if number not in done]
    if len(manifest.groups) <= 1 or not missing:
        await carry_out(ports, pipeline, stored)
        return
    commands = [WriteParts(pipeline=manifest.pipeline, version=manifest.version, group=n) for n in missing]
    await ports.publisher.send(QUEUE, commands, run_id=manifest.run_id)
    log.info("handed out", run_id=manifest.run_id, version=manifest.version, groups=len(missing))


async def write_parts(ports: Ports, pipeline: Pipeline, command: WriteParts) -> None:
    """Write one group of a load; who finds that it was the last one settles the load.

    Raises:
        LeaseHeldError: another merger writes this group.
        MalformedError: there is no such load or group.
    """
    stored = await ports.loads.manifest(command.pipeline, command.version)
    if stored is None or command.group >= len(stored.manifest.groups):
        raise MalformedError(f"{command.pipeline}: there is no group {command.group} of load {command.version}")
    manifest = stored.manifest
    done = await ports.loads.finished(manifest)
    if command.group not in done:
        resource = f"load:{command.pipeline}/{command.version}/{command.group}"
        async with held(ports.leases, resource, f"{ports.owner}/{uuid4().hex}", ports.lease_ttl_s):
            await write_group(ports, pipeline, stored, command.group, await known_to(ports, pipeline, manifest))
        done = await ports.loads.finished(manifest)
    if len(done) < len(manifest.groups):
        return
    head = await ports.checkpoints.head(name_of(ports, pipeline))
    for each in await unsettled(ports, pipeline, head):
        if each.manifest.version < manifest.version:
            await carry_out(ports, pipeline, each)
    await settle(ports, pipeline, stored)


async def _decide(ports: Ports, pipeline: Pipeline, run: Run, entries: list[SegmentEntry], tip: int) -> LoadManifest:
    """The manifest of the next version: what goes where."""
    target = target_of(pipeline)
    bucket = target.bucket or ports.processed_bucket
    limit = asyncio.Semaphore(READS_IN_FLIGHT)

    async def read(entry: SegmentEntry) -> tuple[SourceSegment, LandedSegment]:
        at, _, key = (entry.location or "").partition("/")
        async with limit:
            return SourceSegment(segment_id=entry.segment_id, bucket=at, key=key), await ports.loads.landed(at, key)

    read_all = await asyncio.gather(*map(read, sorted(entries, key=lambda entry: entry.segment_id)))
    segments = [segment for _, segment in read_all]
    about = segments[0]
    if any(segment.fields != about.fields for segment in segments):
        raise MalformedError(f"{run.run_id}: its segments were not read with the same fields")
    previous = None if tip == 0 else (await manifest_of(ports, pipeline, tip)).manifest
    folder = folder_of(target.prefix, pipeline.entity, about.run_date, about.load_type)
    taken = [info.key async for info in ports.objects.list(bucket, folder)]
    taken += await _planned(ports, pipeline, previous, folder)
    keys_only = about.load_type is LoadType.KEYS
    return LoadManifest(
        pipeline=pipeline.name,
        version=tip + 1,
        generation=generation_of(about.load_type, tip + 1, previous),
        run_id=run.run_id,
        load_type=about.load_type,
        run_date=about.run_date,
        ingestion_ts=ports.clock.now().isoformat(timespec="microseconds"),
        ingestion_id=ingestion_id(run.parent or run.run_id),
        bucket=bucket,
        fields=about.fields,
        segments=[source for source, _ in read_all],
        groups=plan_groups(segments, folder, next_numbers(taken), target.part_bytes),
        least_cursor=None if keys_only else least(segment.least_cursor for segment in segments),
        greatest_cursor=None if keys_only else greatest(segment.greatest_cursor for segment in segments),
    )


async def _planned(ports: Ports, pipeline: Pipeline, newest: LoadManifest | None, folder: str) -> list[str]:
    """Keys of the same folder that the loads before gave away, whether anything was written there or not."""
    keys: list[str] = []
    manifest = newest
    while manifest is not None and f"/ingestion_date={manifest.run_date}/" in folder:
        keys += [part.key for group in manifest.groups for part in group.parts if part.key.startswith(folder)]
        if manifest.version == 1:
            break
        manifest = (await manifest_of(ports, pipeline, manifest.version - 1)).manifest
    return keys
