"""Loads: one run that brings one entity's rows into bronze, from its plan to its parts.

A load is published whole: its parts are written when every segment of it was fetched and validated. What is written
where is decided once, in a manifest that can be created only once per version of the entity; whoever finds a manifest
that was not carried out carries it out, and doing so twice writes the same bytes to the same keys.
"""

from pydantic import Field, NonNegativeInt, PositiveInt

from contracts.envelope import Contract, Payload
from contracts.fields import EntityField
from contracts.runs import LoadType
from contracts.segments import SegmentCounts

START_OF_TIME = "1970-01-01 00:00:00"
"""Where an entity's first load starts. Cursors are UTC, ``YYYY-MM-DDTHH:MM:SS.ffffff``, and compare as text."""

DAY = r"^\d{4}-\d{2}-\d{2}$"


class Slice(Contract):
    """Rows of an entity: a window of its cursor, cut by the columns of its key.

    ``after`` (exclusive) and ``upto`` (inclusive) are whole keys, each value in the source's own text form, compared in
    the source's order; None is the open end.
    """

    start: str = Field(description="cursor, inclusive")
    end: str = Field(description="cursor, exclusive")
    undated: bool = Field(default=False, description="also rows without a cursor: of full loads only")
    after: list[str] | None = None
    upto: list[str] | None = None


class PlannedSlice(Contract):
    """One segment of a load."""

    segment_id: str
    slice: Slice
    expected_rows: NonNegativeInt = Field(description="an estimate")


class LoadPlan(Contract):
    """What a load reads and what its success will move."""

    run_id: str
    pipeline: str
    load_type: LoadType
    started_at: str = Field(description="when the run was opened in the ledger that the plan was made from")
    run_date: str = Field(pattern=DAY, description="the ingestion date")
    fields: list[EntityField] = Field(description="what is read, in this order")
    schema_version: NonNegativeInt
    slices: list[PlannedSlice]
    start: str
    end: str
    frontier: str | None = Field(default=None, description="what the watermark may say afterwards; None: it stays")
    watermark_version: NonNegativeInt = 0

    @property
    def expected_rows(self) -> int:
        """Rows of all slices, estimated."""
        return sum(planned.expected_rows for planned in self.slices)


class FetchSlice(Payload):
    """Command to the fetcher: read these rows of an entity into one raw object."""

    pipeline: str
    run_id: str
    segment_id: str
    run_date: str = Field(pattern=DAY)
    load_type: LoadType
    fields: list[EntityField]
    slice: Slice
    expected_rows: NonNegativeInt

    def dedup_id(self) -> str:
        """One raw object per segment."""
        return f"{self.run_id}/{self.segment_id}"


class DayRows(Contract):
    """Rows of one event date; no date: rows without a business date."""

    date: str | None = Field(default=None, pattern=DAY)
    rows: PositiveInt


class Chunk(Contract):
    """One part of a landing file: a whole Arrow IPC stream of rows sorted by event date, undated ones last."""

    offset: NonNegativeInt = Field(description="bytes from the file's start")
    length: PositiveInt = Field(description="bytes")
    rows: PositiveInt
    days: list[DayRows]


class Landing(Contract):
    """The trailer of a landing file: what is in it (services/runtime/landing.py says how it is framed)."""

    pipeline: str
    run_id: str
    segment_id: str
    load_type: LoadType
    fields: list[EntityField]
    slice: Slice | None = Field(default=None, description="what was asked of the source, where the fetcher wrote it")
    rows: NonNegativeInt
    chunks: list[Chunk]


class LandedSegment(Contract):
    """What the validator says of a segment of a load: a JSON object in the validated bucket, ``…/{segment}.json``.

    The rows stay in the landing file that it names, pinned by version or ETag.
    """

    pipeline: str
    run_id: str
    run_date: str = Field(pattern=DAY)
    segment_id: str
    load_type: LoadType
    fields: list[EntityField]
    bucket: str
    key: str
    version_id: str | None = None
    etag: str
    counts: SegmentCounts
    chunks: list[Chunk]
    least_cursor: str | None = None
    greatest_cursor: str | None = None


class PlannedPart(Contract):
    """A part that a load will write, unless none of its rows is new."""

    key: str
    date: str | None
    share: NonNegativeInt = Field(description="which of the day's parts it is, from 0: they hold its rows evenly")
    shares: PositiveInt = Field(description="how many parts the day has in this load")


class PartGroup(Contract):
    """Parts that are written together, with bounded memory: neighbouring event dates."""

    parts: list[PlannedPart]


class SourceSegment(Contract):
    """A segment that a load is made of, by the location of its LandedSegment."""

    segment_id: str
    bucket: str
    key: str


class LoadManifest(Contract):
    """What one version of an entity adds to bronze: ``loads/{pipeline}/{version}/manifest.json`` in the state."""

    pipeline: str
    version: PositiveInt
    generation: PositiveInt = Field(description="version of the full load that it builds on; its own if it is one")
    run_id: str
    load_type: LoadType
    run_date: str = Field(pattern=DAY)
    ingestion_ts: str = Field(description="ISO 8601, UTC: the same in every row of the load")
    ingestion_id: str = Field(description="UUID of the run")
    bucket: str
    fields: list[EntityField]
    segments: list[SourceSegment]
    groups: list[PartGroup]
    least_cursor: str | None = None
    greatest_cursor: str | None = None


class LoadPart(Contract):
    """A part as it was written."""

    key: str
    date: str | None
    rows: PositiveInt
    size: PositiveInt = Field(description="bytes")
    greatest_cursor: str | None = None


class SegmentShare(Contract):
    """What one group took of one segment."""

    merged: NonNegativeInt = 0
    duplicates: NonNegativeInt = 0


class GroupResult(Contract):
    """What one group wrote: ``loads/{pipeline}/{version}/groups/{n}.json``; that it is there means it is done."""

    parts: list[LoadPart]
    segments: dict[str, SegmentShare]


class WriteParts(Payload):
    """Command to the merger: write one group of a load's parts."""

    pipeline: str
    version: PositiveInt
    group: NonNegativeInt

    def dedup_id(self) -> str:
        """Once per group."""
        return f"{self.pipeline}/{self.version}/{self.group}"
