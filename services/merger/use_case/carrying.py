"""Carrying a load out: its manifest says what is written where, so anybody may do it, and do it again.

groups written → ledger → announcement → head → end of the run
"""

import asyncio
from collections.abc import Collection

import structlog

from contracts.loads import GroupResult, LandedSegment, LoadManifest, LoadPart, SegmentShare
from contracts.pipelines import Pipeline
from contracts.runs import LoadPublished, LoadType, RunMode, RunState
from contracts.segments import Settlement
from contracts.targets import BronzeTarget
from services.merger.core.loads import greatest, shares_of
from services.merger.ports import Known, Ports, StoredManifest
from services.runtime.checkpoints import Commit, Head
from services.runtime.failures import BadDeclarationError, CorruptCheckpointError
from services.runtime.ledger import Run, Step

log = structlog.get_logger()

READS_IN_FLIGHT = 16
KIND = "load"
"""What a history of commits calls a load."""


def target_of(pipeline: Pipeline) -> BronzeTarget:
    """Where a pipeline's loads go.

    Raises:
        BadDeclarationError: it is not one of those that load into bronze.
    """
    if not isinstance(pipeline.target, BronzeTarget):
        raise BadDeclarationError(f"{pipeline.name} has a load, but its target is of kind {pipeline.target.kind}")
    return pipeline.target


def name_of(ports: Ports, pipeline: Pipeline) -> str:
    """The name under which heads and histories know an entity."""
    target = target_of(pipeline)
    return f"{target.bucket or ports.processed_bucket}/{target.prefix}{pipeline.entity}"


async def manifest_of(ports: Ports, pipeline: Pipeline, version: int) -> StoredManifest:
    """The manifest of a version that there must be.

    Raises:
        CorruptCheckpointError: it is gone.
    """
    found = await ports.loads.manifest(pipeline.name, version)
    if found is None:
        raise CorruptCheckpointError(f"{pipeline.name}: the manifest of load {version} is gone from the state")
    return found


async def unsettled(ports: Ports, pipeline: Pipeline, head: Head) -> list[StoredManifest]:
    """Manifests after the head, oldest first; the head may be behind them, or gone with its table."""
    found: list[StoredManifest] = []
    while (stored := await ports.loads.manifest(pipeline.name, head.version + len(found) + 1)) is not None:
        found.append(stored)
    return found


async def carry_out(ports: Ports, pipeline: Pipeline, stored: StoredManifest) -> None:
    """Write what is missing of a load and settle it. Everything before it must be settled."""
    done = await ports.loads.finished(stored.manifest)
    missing = [number for number in range(len(stored.manifest.groups)) if number not in done]
    if missing:
        known = await known_to(ports, pipeline, stored.manifest)
        await asyncio.gather(*(write_group(ports, pipeline, stored, number, known) for number in missing))
    await settle(ports, pipeline, stored)


async def write_group(ports: Ports, pipeline: Pipeline, stored: StoredManifest, group: int, known: Known) -> None:
    """Write one group's parts, then its result, which says that it is done."""
    segments = await ports.loads.segments(stored)
    with ports.telemetry.segment("write"):
        result = await ports.parts.write(pipeline, stored.manifest, group, segments, known)
    await ports.loads.finish(stored.manifest, group, result)


async def known_to(ports: Ports, pipeline: Pipeline, manifest: LoadManifest) -> Known:
    """Parts of earlier versions of the generation that can hold rows of this load.

    A row that comes again has its cursor again, so only parts that reach this load's least cursor matter.
    """
    bound = manifest.least_cursor
    if bound is None or manifest.load_type is LoadType.KEYS or manifest.generation == manifest.version:
        return Known()
    reached = {c.version: c.max_cursor for c in await ports.checkpoints.history(name_of(ports, pipeline))}
    versions = []
    for version in range(manifest.generation, manifest.version):
        cursor = reached.get(version) if version in reached else None
        if version not in reached:
            cursor = (await manifest_of(ports, pipeline, version)).manifest.greatest_cursor
        if cursor is not None and cursor >= bound:
            versions.append(version)
    dates = {part.date for group in manifest.groups for part in group.parts}
    parts = [part for version in versions for part in await _parts_of(ports, pipeline, version, dates)]
    return Known(tuple(p for p in parts if p.greatest_cursor is not None and p.greatest_cursor >= bound), bound)


async def _parts_of(ports: Ports, pipeline: Pipeline, version: int, dates: Collection[str | None]) -> list[LoadPart]:
    manifest = (await manifest_of(ports, pipeline, version)).manifest
    wanted = [n for n, group in enumerate(manifest.groups) if any(part.date in dates for part in group.parts)]
    return [part for result in await _results(ports, manifest, wanted) for part in result.parts if part.date in dates]


async def _results(ports: Ports, manifest: LoadManifest, groups: Collection[int]) -> list[GroupResult]:
    limit = asyncio.Semaphore(READS_IN_FLIGHT)

    async def read(group: int) -> GroupResult:
        async with limit:
            return await ports.loads.result(manifest, group)

    return await asyncio.gather(*map(read, groups))


async def settle(ports: Ports, pipeline: Pipeline, stored: StoredManifest) -> None:
    """Record a load all of whose groups are written; repeating it changes nothing.

    As with checkpoints the head comes after all that is recorded, and the run ends after the head.
    """
    manifest = stored.manifest
    head = await ports.checkpoints.head(name := name_of(ports, pipeline))
    if head.version >= manifest.version and await _is_recorded(ports, manifest):
        await ports.completion.complete(manifest.run_id, pipeline.watermark)
        return
    results = await _results(ports, manifest, range(len(manifest.groups)))
    segments = await ports.loads.segments(stored)
    shares = shares_of(results)
    await _enter(ports, manifest, segments)
    for segment in segments:
        await _merged(ports, manifest, segment, shares.get(segment.segment_id, SegmentShare()))
    parts = [part for result in results for part in result.parts]
    rows = sum(part.rows for part in parts)
    fact = LoadPublished(
        pipeline=manifest.pipeline,
        run_id=manifest.run_id,
        version=manifest.version,
        load_type=manifest.load_type,
        rows=rows,
        parts=len(parts),
    )
    await ports.publisher.announce(fact, run_id=manifest.run_id)
    await ports.checkpoints.register(manifest.pipeline, name)
    total = await _total_rows(ports, name, head, manifest, rows)
    await ports.checkpoints.record(name, _commit(stored, total, rows))
    _report(ports, manifest, parts, total, sum(share.duplicates for share in shares.values()))
    await ports.completion.complete(manifest.run_id, pipeline.watermark)


async def _is_recorded(ports: Ports, manifest: LoadManifest) -> bool:
    """Whether the ledger has the load; it may have lost what the head remembers."""
    entries = {entry.segment_id: entry.step for entry in await ports.ledger.segments(manifest.run_id)}
    return all(entries.get(source.segment_id) is Step.MERGED for source in manifest.segments)


async def _enter(ports: Ports, manifest: LoadManifest, segments: Collection[LandedSegment]) -> None:
    """Enter the run and its segments again if the ledger was lost; what is there is left alone.

    How it was planned is not known any more, but for how many segments it has: enough to end it.
    """
    if await ports.ledger.run(manifest.run_id) is None:
        log.warning("entering a run again that outlived the ledger", run_id=manifest.run_id)
        run = Run(
            run_id=manifest.run_id,
            pipeline=manifest.pipeline,
            mode=RunMode(manifest.load_type.value),
            state=RunState.RUNNING,
            started_at=manifest.ingestion_ts,
            planned=len(manifest.segments),
        )
        await ports.ledger.open_run(run)
    entries = {entry.segment_id: entry for entry in await ports.ledger.segments(manifest.run_id)}
    locations = {source.segment_id: f"{source.bucket}/{source.key}" for source in manifest.segments}
    for segment in segments:
        entry = entries.get(segment.segment_id)
        if entry is None or entry.fetched is None:
            raw = f"{segment.bucket}/{segment.key}"
            await ports.ledger.segment_fetched(manifest.run_id, segment.segment_id, segment.counts.received, raw)
        if entry is None or entry.step not in {Step.VALIDATED, Step.MERGED}:
            location = locations[segment.segment_id]
            await ports.ledger.segment_validated(manifest.run_id, segment.segment_id, segment.counts, location)


async def _merged(ports: Ports, manifest: LoadManifest, segment: LandedSegment, share: SegmentShare) -> None:
    source = next(each for each in manifest.segments if each.segment_id == segment.segment_id)
    settlement = Settlement(
        merged=share.merged,
        row_duplicates=share.duplicates,
        quarantined=segment.counts.quarantined,
        filtered=segment.counts.filtered,
        ignored=segment.counts.ignored,
    )
    await ports.ledger.segment_merged(
        manifest.run_id,
        segment.segment_id,
        settlement,
        location=f"{source.bucket}/{source.key}",
        version=manifest.version,
    )


async def _total_rows(ports: Ports, name: str, head: Head, manifest: LoadManifest, rows: int) -> int:
    """Rows of the generation with this load; keys are not among them."""
    if manifest.generation == manifest.version and manifest.load_type is not LoadType.KEYS:
        return rows
    before = head.total_rows
    if head.version != manifest.version - 1:  # settled before, and now again
        totals = {commit.version: commit.total_rows for commit in await ports.checkpoints.history(name)}
        before = totals.get(manifest.version - 1, 0)
    return before if manifest.load_type is LoadType.KEYS else before + rows


def _commit(stored: StoredManifest, total: int, rows: int) -> Commit:
    manifest = stored.manifest
    return Commit(
        version=manifest.version,
        kind=KIND,
        commit_id=manifest.run_id,
        manifest=stored.key,
        etag=stored.etag,
        object_version=None,
        total_rows=total,
        new_rows=rows,
        committed_at=manifest.ingestion_ts,
        max_cursor=None if manifest.load_type is LoadType.KEYS else greatest([manifest.greatest_cursor]),
    )


def _report(ports: Ports, manifest: LoadManifest, parts: Collection[LoadPart], total: int, duplicates: int) -> None:
    rows, size = sum(part.rows for part in parts), sum(part.size for part in parts)
    metric = ports.telemetry.metric
    metric("NewEventsProcessed", rows, pipeline=manifest.pipeline)
    metric("TotalEvents", total, pipeline=manifest.pipeline)
    metric("RowsIn", rows + duplicates, pipeline=manifest.pipeline)
    metric("RowsOut", rows, pipeline=manifest.pipeline)
    metric("Duplicates", duplicates, pipeline=manifest.pipeline)
    log.info(
        "published",
        run_id=manifest.run_id,
        version=manifest.version,
        generation=manifest.generation,
        load_type=manifest.load_type.value,
        new_rows=rows,
        duplicates=duplicates,
        total_rows=total,
        parts=len(parts),
        bytes=size,
        segments=len(manifest.segments),
    )
