"""Decisions on fetched raw objects: which segment one is, and what its judged lines become."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import polars as pl

from contracts.pipelines import Pipeline
from contracts.segments import Disposition, Occurrence, SegmentCounts, Verdict, scope_of
from contracts.sources import FetchedName, TableSource
from services.runtime.failures import MalformedError
from services.validator.core.columns import schema_of
from services.validator.core.declared.judge import JudgedBlock, RowJudge
from services.validator.core.partitions import partition
from services.validator.core.segments import (
    BadRow,
    QuarantineEntry,
    SegmentFile,
    dropped_by,
    quarantine_verdicts,
    reason_of,
    segment_files,
)

ROWS = "tidegate-rows"
"""Metadata of a raw object: how many rows its fetcher put into it."""


@dataclass(frozen=True, slots=True)
class FetchedWork:
    """One raw object to be made a segment of, and the deliveries that asked for it."""

    pipeline: Pipeline
    run_id: str
    segment_id: str
    run_date: str
    bucket: str
    key: str
    deliveries: frozenset[str]
    replay: bool = False
    again: bool = False
    """Whether one of the deliveries was handed out before, perhaps to somebody who died over it."""

    @property
    def location(self) -> str:
        """``{bucket}/{key}``."""
        return f"{self.bucket}/{self.key}"


@dataclass(slots=True)
class JudgedObject:
    """What came of all lines of a raw object.

    Attributes:
        rows: those that are passed on.
        received: lines.
        quarantined: lines that are no rows.
        filtered: verdicts of rows that are not wanted.
        nulled: bad values that became null in rows that are passed on, by column.
        unknown: members that no column is declared for, in any line.
    """

    rows: pl.DataFrame
    received: int = 0
    quarantined: list[QuarantineEntry] = field(default_factory=list)
    filtered: list[Verdict] = field(default_factory=list)
    nulled: Counter[str] = field(default_factory=Counter)
    unknown: set[str] = field(default_factory=set)


def name_of(pipeline: Pipeline, key: str) -> FetchedName:
    """What the key of a raw object says.

    Raises:
        MalformedError: no fetcher of this pipeline wrote it.
    """
    name = FetchedName.read(pipeline.source.prefix, key) if pipeline.is_fetched else None
    typed = isinstance(pipeline.source, TableSource)
    if name is None or name.pipeline != pipeline.name or (name.suffix == "land") != typed:
        raise MalformedError(f"{key!r} is not the key of a raw object of pipeline {pipeline.name}")
    return name


def row_id(pipeline: str, line: bytes) -> str:
    """The identity of a row that is not passed on: the same line is the same row, whichever object it is in."""
    return sha256(pipeline.encode() + b"\0" + line).hexdigest()[:32]


def judge_object(
    work: FetchedWork, occurrence: Occurrence, blocks: Iterable[Sequence[bytes]], judge: RowJudge
) -> JudgedObject:
    """Judge an object's lines block by block.

    Args:
        work: what they are for.
        occurrence: the object.
        blocks: its lines.
        judge: of the pipeline's columns.
    """
    found = JudgedObject(schema_of(work.pipeline.output_columns).to_frame())
    frames: list[pl.DataFrame] = []
    for lines in blocks:
        judged = judge.judge(lines)
        for bad in judged.bad:
            line, number = lines[bad.position], found.received + bad.position + 1
            row = BadRow(row_id(work.pipeline.name, line), number, line.decode("utf-8", "backslashreplace"))
            found.quarantined.append(QuarantineEntry(occurrence, bad.reason, bad.errors, row))
        frames.append(_wanted(work, lines, judged, found))
        found.received += len(lines)
        found.unknown |= judged.unknown
    if frames:
        found.rows = pl.concat(frames)
    return found


def decide_fetched(work: FetchedWork, judged: JudgedObject, *, default_bucket: str) -> list[SegmentFile]:
    """The segment files of an object, one for each partition file that its rows belong to."""
    target = work.pipeline.target
    parts = partition(target.key, target.bucket or default_bucket, work.run_date, judged.rows)
    verdicts = quarantine_verdicts(judged.quarantined) + judged.filtered
    counts = SegmentCounts(nulled=judged.nulled.total())
    return segment_files(work, scope_of(work.pipeline.name, None), parts, verdicts, counts)


def _wanted(work: FetchedWork, lines: Sequence[bytes], judged: JudgedBlock, found: JudgedObject) -> pl.DataFrame:
    """A block's rows without those that a rule drops; what becomes of them is entered in ``found``."""
    frame, indexes = judged.frame, judged.indexes
    for rule in work.pipeline.drop:
        dropped = dropped_by(rule, frame)
        found.filtered += [
            Verdict(
                occurrence=row_id(work.pipeline.name, lines[index]),
                disposition=Disposition.FILTERED,
                reason=reason_of(rule),
            )
            for index in indexes.filter(dropped)
        ]
        frame, indexes = frame.filter(~dropped), indexes.filter(~dropped)
    kept = set(indexes.to_list()) if work.pipeline.drop and judged.nulled else None
    found.nulled.update(nulled.column for nulled in judged.nulled if kept is None or nulled.position in kept)
    return frame
