"""Decisions on segments: how announcements become segments, and how judged rows become segment files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Protocol

import polars as pl

from contracts.pipelines import DropRule, Pipeline
from contracts.segments import (
    OCCURRENCE_COLUMN,
    Destination,
    Disposition,
    Occurrence,
    SegmentCounts,
    SegmentDescriptor,
    Verdict,
    scope_of,
    segment_id_of,
)
from services.validator.core.records import Finding, Judged


class Work(Protocol):
    """A segment to be made, of whatever."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline it belongs to."""
        ...

    @property
    def run_id(self) -> str:
        """The run it belongs to."""
        ...

    @property
    def segment_id(self) -> str:
        """Its name in the run."""
        ...

    @property
    def replay(self) -> bool:
        """Whether what was quarantined before may be settled anew."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """One segment of uploaded objects to be made, and the deliveries that asked for it."""

    pipeline: Pipeline
    run_id: str
    segment_id: str
    occurrences: tuple[Occurrence, ...]
    deliveries: frozenset[str]
    received: int
    planned: bool = False
    destination: Destination | None = None
    since_timestamp: datetime | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line of a fetched object that is no row: its own identity, its number (from 1), and its text."""

    id: str
    line: int
    raw: str


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """Why an occurrence, or one row of it, was judged bad, and where it came from."""

    occurrence: Occurrence
    reason: str
    errors: list[dict[str, Any]] = field(default_factory=list)
    row: BadRow | None = None

    @property
    def id(self) -> str:
        """What its verdict settles."""
        return self.occurrence.id if self.row is None else self.row.id


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One validated segment: its rows (uploaded ones with OCCURRENCE_COLUMN) and what it says about itself."""

    descriptor: SegmentDescriptor
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading a segment's objects: accepted ones with bytes, ignored ones, and lost ones."""

    accepted: tuple[Occurrence, ...]
    ignored: tuple[Occurrence, ...]
    lost: tuple[QuarantineEntry, ...]


def events_run_id(pipeline: str, now: datetime) -> str:
    """The run that collects what events announced on one day (UTC)."""
    return f"{pipeline}-events-{now.astimezone(UTC):%Y%m%d}"


def form_segments(pipeline: Pipeline, announced: Sequence[tuple[str, Occurrence]], run_id: str) -> list[SegmentWork]:
    """Gather announced occurrences, as (delivery, occurrence), into segments of bounded size.

    Repetitions inside the batch go to the segment of the first one, where they count as duplicates.
    """
    deliveries: dict[str, list[str]] = {}
    unique: dict[str, Occurrence] = {}
    for delivery, occurrence in announced:
        unique.setdefault(occurrence.id, occurrence)
        deliveries.setdefault(occurrence.id, []).append(delivery)
    ordered = list(unique.values())
    size = pipeline.limits.objects_per_segment
    parts = [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]
    return [
        SegmentWork(
            pipeline=pipeline,
            run_id=run_id,
            segment_id=segment_id_of(part),
            occurrences=part,
            deliveries=frozenset(delivery for o in part for delivery in deliveries[o.id]),
            received=sum(len(deliveries[o.id]) for o in part),
        )
        for part in parts
    ]


def decide(
    work: SegmentWork, read: Read, judged: Judged, *, default_bucket: str
) -> tuple[list[SegmentFile], list[QuarantineEntry]]:
    """Turn judged documents into segment files, one per destination, and quarantine entries.

    The first file (it may be empty) carries every verdict; its id is the work's own. Each occurrence of the work
    is in exactly one place: a row, a verdict, or the count of duplicates inside the batch.
    """
    quarantined = [*read.lost, *(_bad(read.accepted[finding.index], finding) for finding in judged.findings)]
    verdicts = quarantine_verdicts(quarantined)
    verdicts += [Verdict(occurrence=o.id, disposition=Disposition.IGNORED) for o in read.ignored]
    ids = pl.Series(OCCURRENCE_COLUMN, [o.id for o in read.accepted], dtype=pl.String)
    rows, filtered = _apply_filters(work, judged.frame.with_columns(ids.gather(judged.indexes)))
    parts = _by_destination(work, rows, default_bucket)
    scope = scope_of(work.pipeline.name, work.destination)
    counts = SegmentCounts(duplicates=work.received - len(work.occurrences))
    return segment_files(work, scope, parts, verdicts + filtered, counts), quarantined


def quarantine_verdicts(entries: Sequence[QuarantineEntry]) -> list[Verdict]:
    """The verdict of each entry."""
    kind = Disposition.QUARANTINED
    return [Verdict(occurrence=entry.id, disposition=kind, reason=entry.reason) for entry in entries]


def segment_files(
    work: Work,
    scope: str,
    parts: Sequence[tuple[Destination, pl.DataFrame]],
    verdicts: list[Verdict],
    counts: SegmentCounts,
) -> list[SegmentFile]:
    """A file for each part. The first has the work's own id, all verdicts, and the counts that are of no one file.

    Names depend on the work and the destinations only, so that a repetition writes the same files.
    """
    files = []
    for place, (destination, rows) in enumerate(parts):
        own = [] if place else verdicts
        base = SegmentCounts() if place else counts
        tally = {kind: sum(verdict.disposition is kind for verdict in own) for kind in Disposition}
        suffix = f"-{sha256(destination.uri.encode()).hexdigest()[:8]}" if place else ""
        descriptor = SegmentDescriptor(
            segment_id=work.segment_id + suffix,
            pipeline=work.pipeline.name,
            scope=scope,
            run_id=work.run_id,
            destination=destination,
            counts=SegmentCounts(
                received=len(rows) + len(own) + base.duplicates,
                rows=len(rows),
                quarantined=tally[Disposition.QUARANTINED],
                filtered=tally[Disposition.FILTERED],
                ignored=tally[Disposition.IGNORED],
                duplicates=base.duplicates,
                nulled=base.nulled,
            ),
            verdicts=own,
            replay=work.replay,
        )
        files.append(SegmentFile(descriptor, rows))
    return files


def _bad(occurrence: Occurrence, finding: Finding) -> QuarantineEntry:
    return QuarantineEntry(occurrence, finding.reason, finding.errors)


def _apply_filters(work: SegmentWork, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Verdict]]:
    verdicts: list[Verdict] = []
    if work.since_timestamp is not None:
        late = pl.col(work.pipeline.target.order_by) <= work.since_timestamp
        verdicts += _filtered(rows.filter(late), "since_timestamp", settles=False)
        rows = rows.filter(~late)
    for rule in work.pipeline.drop:
        dropped = dropped_by(rule, rows)
        verdicts += _filtered(rows.filter(dropped), reason_of(rule))
        rows = rows.filter(~dropped)
    return rows, verdicts


def dropped_by(rule: DropRule, rows: pl.DataFrame) -> pl.Series:
    """A mask of the rows that a rule drops."""
    return rows[rule.field].str.starts_with(rule.starts_with).fill_null(value=False)


def reason_of(rule: DropRule) -> str:
    """What the verdict on a row says that a rule drops."""
    return f"{rule.field} starts with {rule.starts_with}"


def _filtered(rows: pl.DataFrame, reason: str, *, settles: bool = True) -> list[Verdict]:
    return [
        Verdict(occurrence=occurrence, disposition=Disposition.FILTERED, reason=reason, settles=settles)
        for occurrence in rows[OCCURRENCE_COLUMN]
    ]


def _by_destination(
    work: SegmentWork, rows: pl.DataFrame, default_bucket: str
) -> list[tuple[Destination, pl.DataFrame]]:
    """Rows by the checkpoint they belong to; at least one part, because verdicts need a segment to travel in."""
    target = work.pipeline.target
    bucket = target.bucket or default_bucket
    if work.destination is not None or not target.fields or rows.is_empty():
        return [(work.destination or Destination(bucket=bucket, key=target.key), rows)]
    found = [
        (Destination(bucket=bucket, key=target.key.format_map(_values(target.fields, values))), part)
        for values, part in rows.group_by(target.fields, maintain_order=True)
    ]
    return sorted(found, key=lambda item: item[0].key)


def _values(fields: Sequence[str], values: Sequence[Any]) -> Mapping[str, str]:
    """Field values as key parts; a slash inside a value must not open a new folder."""
    return {name: str(value).replace("/", "%2F") for name, value in zip(fields, values, strict=True)}
