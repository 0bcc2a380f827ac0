"""Decisions on occurrences and commits; pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from contracts.pipelines import Pipeline
from contracts.segments import Destination, Disposition, SegmentDescriptor, Settlement
from contracts.targets import PartitionTarget
from services.runtime.checkpoints import STAMP_VERSION, Head
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectInfo
from services.runtime.occurrences import Mark

STAMP_COMMIT = "tidegate-commit"
STAMP_MANIFEST = "tidegate-manifest"
"""Object metadata of a checkpoint: the commit that wrote it, and that commit's manifest."""


@dataclass(frozen=True, slots=True)
class SegmentShare:
    """What one segment contributes to a commit: the positions of its new rows, and the full account."""

    new_rows: tuple[int, ...]
    settlement: Settlement


Live = Callable[[Mark], bool]
"""Whether the version a row's mark names is still in its checkpoint's line of history."""


def claimant(descriptor: SegmentDescriptor) -> str:
    """The name a segment claims under. Its id alone is not enough: two runs may make equal segments."""
    return f"{descriptor.run_id}/{descriptor.segment_id}"


def new_rows(
    segments: Sequence[tuple[SegmentDescriptor, Sequence[str]]], marks: Mapping[str, Sequence[Mark]], live: Live
) -> list[tuple[int, ...]]:
    """The positions of the rows that are new in each segment, given as (descriptor, occurrence of each row).

    An occurrence that several of the segments carry counts for the first of them.
    """
    taken: set[str] = set()
    positions = []
    for descriptor, occurrences in segments:
        new: list[int] = []
        for position, occurrence in enumerate(occurrences):
            found = marks.get(occurrence, ())
            if occurrence in taken or any(_blocks_row(mark, live, replay=descriptor.replay) for mark in found):
                continue
            taken.add(occurrence)
            new.append(position)
        positions.append(tuple(new))
    return positions


def lease_resource(pipeline: Pipeline, destination: Destination, scope: str) -> str:
    """What a commit must own: its checkpoint, or the whole table, because a key may be in any of its files."""
    if isinstance(pipeline.target, PartitionTarget):
        return f"table:{scope}"
    return f"checkpoint:{destination.bucket}/{destination.key}"


def share_out(
    segments: Sequence[tuple[SegmentDescriptor, int]],
    new: Sequence[tuple[int, ...]],
    claimed: Mapping[tuple[str, str], bool],
) -> list[SegmentShare]:
    """Account for each segment, given as (descriptor, number of rows), and its new rows.

    ``claimed`` holds the answer of the claim for each (claimant, occurrence) whose verdict settles something.
    """
    shares = []
    for (descriptor, rows), positions in zip(segments, new, strict=True):
        counts = dict.fromkeys(Disposition, 0)
        repeated = 0
        for verdict in descriptor.verdicts:
            if verdict.settles and not claimed[claimant(descriptor), verdict.occurrence]:
                repeated += 1
            else:
                counts[verdict.disposition] += 1
        shares.append(
            SegmentShare(
                new_rows=positions,
                settlement=Settlement(
                    merged=len(positions),
                    row_duplicates=rows - len(positions),
                    quarantined=counts[Disposition.QUARANTINED],
                    filtered=counts[Disposition.FILTERED],
                    ignored=counts[Disposition.IGNORED],
                    verdict_duplicates=repeated,
                ),
            )
        )
    return shares


def _blocks_row(mark: Mark, live: Live, *, replay: bool) -> bool:
    if mark.disposition is Disposition.MERGED:
        return live(mark)
    if mark.disposition is Disposition.IGNORED:  # its key did not match then; it does now
        return False
    return not replay


def blocks_verdict(marks: Sequence[Mark], live: Live, claims_as: str, *, replay: bool) -> bool:
    """Whether an occurrence without a row is settled already, by a live row or by an older epoch's claim.

    A replay may take over what was quarantined, and nothing else.
    """

    def blocks(mark: Mark) -> bool:
        if mark.disposition is Disposition.MERGED:
            return live(mark)
        return mark.segment_id != claims_as and not (replay and mark.disposition is Disposition.QUARANTINED)

    return any(blocks(mark) for mark in marks)


class Standing(Enum):
    """How the object in S3 stands to the head in DynamoDB."""

    ABSENT = "absent"
    CURRENT = "current"
    AHEAD = "ahead"
    FOREIGN = "foreign"


def compare(head: Head, info: ObjectInfo | None, uri: str) -> Standing:
    """Tell how object and head stand; AHEAD means that commits happened which nobody recorded yet.

    Raises:
        CorruptCheckpointError: the object is not what was committed; the text says how to cure it.
    """
    cure = "`tidegate checkpoint restore` brings a committed version back"
    if info is None:
        if head.version == 0:
            return Standing.ABSENT
        raise CorruptCheckpointError(f"{uri} is gone, though version {head.version} was committed; {cure}")
    stamped = info.metadata.get(STAMP_VERSION)
    if stamped is None:
        if head.version == 0:
            return Standing.FOREIGN
        raise CorruptCheckpointError(f"{uri} was replaced by something else (ETag {info.etag}); {cure}")
    version = int(stamped)
    if version > head.version:
        return Standing.AHEAD
    if version < head.version or info.etag != head.etag:
        raise CorruptCheckpointError(
            f"{uri} holds version {version} with ETag {info.etag}, but version {head.version} with ETag"
            f" {head.etag} was committed; {cure}"
        )
    return Standing.CURRENT
