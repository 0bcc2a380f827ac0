"""Validated segments of fetched rows → commits to the partition files of a table, each unique key once.

A key may be in any file of the table, so one lease covers the whole table, and what is there already is asked of the
files themselves. A commit is noted (``begin``) before it is tried. Whoever owns the lease next deals with every note it
finds first: a commit that happened is settled, and one that did not is made impossible by a commit without rows,
which changes the object that a sleeping merger would have to match. Only then do the files tell the whole truth.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from contracts.checkpoints import CommitManifest
from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.core.commits import SegmentShare, lease_resource, share_out
from services.merger.ports import LoadedSegment, Ports
from services.merger.use_case.commit import Current, commit, new_commit_id, noted, reconcile
from services.merger.use_case.merge import commit_rows
from services.merger.use_case.settling import claim_verdicts, settle_without_rows, unsettled, until_committed
from services.runtime.failures import CorruptCheckpointError
from services.runtime.leases import Lease
from services.runtime.occurrences import Mark

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()

COMMITS_IN_FLIGHT = 4
"""Files of one table that are rewritten side by side."""

Part = tuple[LoadedSegment, SegmentShare]


async def merge_into_table(ports: Ports, pipeline: Pipeline, segments: Sequence[LoadedSegment]) -> None:
    """Add the rows of these segments, whatever their files, to the pipeline's table.

    Raises:
        LeaseHeldError: another merger works on this table.
        TemporaryError: the swap was lost again and again.
        CorruptCheckpointError: a file is not what was committed; nothing was changed.
    """
    about = segments[0].descriptor

    async def attempt(lease: Lease) -> None:
        await _merge_under_lease(ports, pipeline, segments, lease)

    resource = lease_resource(pipeline, about.destination, about.scope)
    await until_committed(ports, resource, resource, attempt)


async def _merge_under_lease(ports: Ports, pipeline: Pipeline, segments: Sequence[LoadedSegment], lease: Lease) -> None:
    scope = segments[0].descriptor.scope
    await clear_notes(ports, pipeline, scope, lease, segments[0].rows.slice(0, 0))
    files: dict[str, list[LoadedSegment]] = {}
    for segment in segments:
        files.setdefault(segment.descriptor.destination.uri, []).append(segment)
    currents = {
        uri: await reconcile(ports, pipeline, members[0].descriptor.destination) for uri, members in files.items()
    }
    waiting = await unsettled(ports, pipeline, segments)
    if not waiting:
        return
    epoch = await ports.checkpoints.epoch(scope)
    parts = await _share_out(ports, pipeline, waiting, epoch)
    await settle_without_rows(ports, pipeline, [part for part in parts if not part[1].new_rows])
    commits = {
        uri: [part for part in parts if part[1].new_rows and part[0].descriptor.destination.uri == uri] for uri in files
    }
    limit = asyncio.Semaphore(COMMITS_IN_FLIGHT)

    async def put(current: Current, members: Sequence[Part]) -> None:
        async with limit:
            await commit_rows(ports, pipeline, current, lease, epoch, members)

    pending = [put(currents[uri], members) for uri, members in commits.items() if members]
    # Every commit is seen to its end before the lease is given back, also when one of them was refused.
    for outcome in await asyncio.gather(*pending, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def clear_notes(ports: Ports, pipeline: Pipeline, scope: str, lease: Lease, none: "pa.Table") -> None:
    """Settle every commit to this table that somebody began and did not end, or make it impossible.

    Raises:
        ConflictError: it happened after all while we looked.
    """
    for note in await ports.checkpoints.begun(scope):
        await _clear_note(ports, pipeline, scope, note, lease, none)


async def shut_out_others(ports: Ports, pipeline: Pipeline, scope: str, destination: Destination, lease: Lease) -> None:
    """See to all notes but those of one file, which its own next commit shuts out; that it is damaged is no matter.

    Raises:
        ConflictError: a noted commit happened after all while we looked.
    """
    import pyarrow as pa  # noqa: PLC0415 - as below

    none = pa.table({column: pa.nulls(0) for column in pipeline.output_columns})
    for note in await ports.checkpoints.begun(scope):
        if noted(note) != destination:
            try:
                await _clear_note(ports, pipeline, scope, note, lease, none)
            except CorruptCheckpointError as error:  # a sleeper that read what it was cannot match what it is
                log.warning("a file with a note is damaged, too", note=note, error=str(error))


async def _clear_note(ports: Ports, pipeline: Pipeline, scope: str, note: str, lease: Lease, none: "pa.Table") -> None:
    destination = noted(note)
    current = await reconcile(ports, pipeline, destination)
    if note in await ports.checkpoints.begun(scope):
        log.warning("shutting out a commit that was begun and is not there", checkpoint=destination.uri)
        await _commit_nothing(ports, pipeline, scope, destination, current, lease, none)
        await ports.checkpoints.end(scope, note)


async def _commit_nothing(
    ports: Ports,
    pipeline: Pipeline,
    scope: str,
    destination: Destination,
    current: Current,
    lease: Lease,
    none: "pa.Table",
) -> None:
    commit_id = new_commit_id()
    prepared = await ports.strategy.prepare(destination, pipeline, current.info, none, commit_id)
    manifest = CommitManifest(
        kind="merge",
        pipeline=pipeline.name,
        scope=scope,
        destination=destination,
        version=current.head.version + 1,
        commit_id=commit_id,
        fencing_token=lease.token,
        epoch=await ports.checkpoints.epoch(scope),
        committed_at=ports.clock.now().isoformat(),
        parent_manifest=current.head.manifest,
        parent_etag=current.head.etag,
        parent_object_version=current.head.object_version,
        total_rows=prepared.total_rows,
        new_rows=0,
        max_cursor=prepared.max_cursor,
        key_range=prepared.key_range,
    )
    await commit(ports, pipeline, current, lease, prepared, manifest)


async def _share_out(ports: Ports, pipeline: Pipeline, segments: Sequence[LoadedSegment], epoch: int) -> list[Part]:
    scope = segments[0].descriptor.scope
    new = await _new_positions(ports, pipeline, segments)
    settling = [v.occurrence for s in segments for v in s.descriptor.verdicts if v.settles]
    marks: Mapping[str, Sequence[Mark]] = {}
    if settling:
        marks = await ports.occurrences.find(scope, settling, epoch=epoch)
    descriptors = [s.descriptor for s in segments]
    claimed = await claim_verdicts(ports, descriptors, marks, _never, frozenset(), epoch)
    shares = share_out([(s.descriptor, s.rows.num_rows) for s in segments], new, claimed)
    return list(zip(segments, shares, strict=True))


def _never(_: Mark) -> bool:
    """Rows of a table have no marks, so no mark of a row can count."""
    return False


async def _new_positions(ports: Ports, pipeline: Pipeline, segments: Sequence[LoadedSegment]) -> list[tuple[int, ...]]:
    """Positions of the rows whose key is in no file yet; a key that several of the segments carry counts once."""
    import pyarrow as pa  # noqa: PLC0415 - at module level it would make the pure parts of the service pay for it

    keys = [segment.rows.column(pipeline.row_key).cast(pa.string()) for segment in segments]
    wanted = pa.chunked_array([chunk for each in keys for chunk in each.chunks], pa.string())
    bucket = segments[0].descriptor.destination.bucket
    present = await ports.keys.among(pipeline, segments[0].descriptor.scope, bucket, wanted)
    taken = pa.chunked_array([chunk for each in present for chunk in each.chunks], pa.string())
    return await asyncio.to_thread(_positions, wanted, taken, [len(each) for each in keys])


def _positions(wanted: "pa.ChunkedArray", taken: "pa.ChunkedArray", lengths: Sequence[int]) -> list[tuple[int, ...]]:
    import pyarrow.compute as pc  # noqa: PLC0415 - as above

    # In one piece: a set of keys is hashed anew for every chunk of what is looked for.
    mask = pc.is_in(wanted.combine_chunks(), value_set=taken.combine_chunks())
    if not pc.any(mask).as_py() and pc.count_distinct(wanted).as_py() == len(wanted):
        return [tuple(range(length)) for length in lengths]
    return _firsts(wanted.to_pylist(), pc.invert(mask).to_pylist(), lengths)


def _firsts(keys: Sequence[str], unknown: Sequence[bool], lengths: Sequence[int]) -> list[tuple[int, ...]]:
    seen: set[str] = set()
    positions: list[tuple[int, ...]] = []
    start = 0
    for length in lengths:
        new: list[int] = []
        for place in range(start, start + length):
            if unknown[place] and keys[place] not in seen:
                seen.add(keys[place])
                new.append(place - start)
        positions.append(tuple(new))
        start += length
    return positions
