"""What a load adds to bronze and in which pieces it is written: decided once, from what its segments say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from contracts.loads import Chunk, GroupResult, LandedSegment, LoadManifest, PartGroup, PlannedPart, SegmentShare
from contracts.runs import LoadType

INGESTIONS = UUID("5b0c2a1e-7d1f-5b8e-9c54-3a7f0d6c1e42")
"""Namespace of ``_ingestion_id``: version 5 over the id of the run that brought the rows (the group's, if it has one).
"""
UNDATED = "__HIVE_DEFAULT_PARTITION__"
"""Folder of rows without a business date, as Hive calls it."""
LANDED_SUFFIX = ".json"
"""Of what the validator says of a segment of a load; its rows are in a landing file, which is nobody's to merge."""
GROUP_BYTES = 8 * 1024 * 1024
"""Bytes of chunks that one group aims at: what is in memory at once while several event dates are written."""
GROUP_ROWS = 250_000
WINDOW_BYTES = 8 * 1024 * 1024
"""Bytes of chunks that are read at once while one large event date is written."""

_PART = re.compile(r"/event_date=(?P<day>[^/]+)/part-(?P<number>\d+)\.parquet$")


def ingestion_id(run_id: str) -> str:
    """The UUID that the rows of a run carry."""
    return str(uuid5(INGESTIONS, run_id))


def folder_of(prefix: str, entity: str, run_date: str, load_type: LoadType) -> str:
    """What the keys of a load's parts begin with."""
    return f"{prefix}{entity}/ingestion_date={run_date}/load_type={load_type.value}/"


def next_numbers(keys: Iterable[str]) -> dict[str | None, int]:
    """The first number that is free in the folder of each event date, given the keys that are taken."""
    free: dict[str | None, int] = {}
    for key in keys:
        if (found := _PART.search(key)) is not None:
            day = None if found["day"] == UNDATED else found["day"]
            free[day] = max(free.get(day, 0), int(found["number"]) + 1)
    return free


def plan_groups(
    segments: Sequence[LandedSegment], folder: str, free: Mapping[str | None, int], part_bytes: int
) -> list[PartGroup]:
    """The parts that these segments' rows go to, and which of them are written together."""
    groups: list[PartGroup] = []
    together: list[PlannedPart] = []
    size = rows = 0
    for day, (day_rows, day_bytes) in _days(segments).items():
        shares = max(1, min(-(-day_bytes // part_bytes), day_rows))
        parts = [
            PlannedPart(key=_key(folder, day, free.get(day, 0) + share), date=day, share=share, shares=shares)
            for share in range(shares)
        ]
        is_full = size + day_bytes > GROUP_BYTES or rows + day_rows > GROUP_ROWS
        if together and (shares > 1 or is_full):
            groups.append(PartGroup(parts=together))
            together, size, rows = [], 0, 0
        if shares > 1:
            groups += [PartGroup(parts=[part]) for part in parts]
            continue
        together += parts
        size, rows = size + day_bytes, rows + day_rows
    return groups + ([PartGroup(parts=together)] if together else [])


def _days(segments: Sequence[LandedSegment]) -> dict[str | None, tuple[int, int]]:
    """Rows and estimated bytes of each event date in order, undated ones last."""
    found: dict[str | None, tuple[int, int]] = {}
    for segment in segments:
        for chunk in segment.chunks:
            for day in chunk.days:
                rows, size = found.get(day.date, (0, 0))
                found[day.date] = (rows + day.rows, size + chunk.length * day.rows // chunk.rows)
    return dict(sorted(found.items(), key=lambda entry: (entry[0] is None, entry[0] or "")))


def _key(folder: str, day: str | None, number: int) -> str:
    return f"{folder}event_date={day or UNDATED}/part-{number:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring rows of one chunk that go to one part of a group."""

    part: int
    segment: int
    chunk: Chunk
    start: int
    rows: int


def windows(segments: Sequence[LandedSegment], group: PartGroup, *, by_hash: bool) -> list[list[Piece]]:
    """What a group reads, in order, in windows of bounded size: by part, then by segment, then as in its chunks.

    ``by_hash``: the parts of one day share its rows by their hashes, so that equal rows meet; each reads all of them.
    """
    if len(group.parts) > 1:
        return [[piece for number, part in enumerate(group.parts) for piece in _pieces(segments, part.date, number)]]
    part = group.parts[0]
    found = _pieces(segments, part.date, 0)
    if part.shares > 1 and not by_hash:
        total = sum(piece.rows for piece in found)
        found = _between(found, total * part.share // part.shares, total * (part.share + 1) // part.shares)
    cut: list[list[Piece]] = []
    size = 0
    for piece in found:
        if not cut or size + piece.chunk.length > WINDOW_BYTES:
            cut.append([])
            size = 0
        cut[-1].append(piece)
        size += piece.chunk.length
    return cut


def _pieces(segments: Sequence[LandedSegment], day: str | None, part: int) -> list[Piece]:
    found = []
    for number, segment in enumerate(segments):
        for chunk in segment.chunks:
            start = 0
            for rows in chunk.days:
                if rows.date == day:
                    found.append(Piece(part, number, chunk, start, rows.rows))
                start += rows.rows
    return found


def _between(pieces: Sequence[Piece], begin: int, end: int) -> list[Piece]:
    """Those of the rows that are from ``begin`` to before ``end``, counted over all pieces."""
    found = []
    at = 0
    for piece in pieces:
        low, high = max(begin - at, 0), min(end - at, piece.rows)
        if low < high:
            found.append(Piece(piece.part, piece.segment, piece.chunk, piece.start + low, high - low))
        at += piece.rows
    return found


def generation_of(load_type: LoadType, version: int, previous: LoadManifest | None) -> int:
    """The version of the full load that a load builds on; loads of keys are handed through, they belong to none."""
    if load_type is LoadType.FULL or previous is None:
        return version
    starts_nothing = previous.load_type is LoadType.KEYS and previous.generation == previous.version
    return version if starts_nothing else previous.generation


def shares_of(results: Iterable[GroupResult]) -> dict[str, SegmentShare]:
    """What all groups together took of each segment."""
    total: dict[str, SegmentShare] = {}
    for result in results:
        for segment_id, share in result.segments.items():
            so_far = total.get(segment_id, SegmentShare())
            total[segment_id] = SegmentShare(
                merged=so_far.merged + share.merged, duplicates=so_far.duplicates + share.duplicates
            )
    return total


def least(cursors: Iterable[str | None]) -> str | None:
    """The least of the cursors that there are."""
    return min((cursor for cursor in cursors if cursor is not None), default=None)


def greatest(cursors: Iterable[str | None]) -> str | None:
    """The greatest of the cursors that there are."""
    return max((cursor for cursor in cursors if cursor is not None), default=None)
