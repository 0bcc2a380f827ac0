"""Decisions on segments of loads: what a raw object is for, and what is said of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.fields import EntityField
from contracts.loads import Chunk, LandedSegment, Landing
from contracts.runs import LoadType, RunMode, RunState
from contracts.segments import SegmentCounts
from contracts.sources import EntitySource, RestSource
from services.runtime.failures import MalformedError
from services.runtime.landing import SUFFIX
from services.runtime.ledger import Run
from services.runtime.objects import ObjectInfo
from services.validator.core.fetched import FetchedWork, name_of
from services.validator.core.landed.proof import Proven

_FULL = frozenset({RunMode.FULL, RunMode.INITIAL})


@dataclass(frozen=True, slots=True)
class LandedWork(FetchedWork):
    """One raw object of an entity."""

    @property
    def is_typed(self) -> bool:
        """Whether it is a landing file; else it holds records of an API."""
        return self.key.endswith(SUFFIX)


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a segment's rows lie, and what is known of them."""

    bucket: str
    info: ObjectInfo
    load_type: LoadType
    fields: Sequence[EntityField]
    chunks: Sequence[Chunk]
    proven: Proven

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(chunk.rows for chunk in self.chunks)


def source_of(work: FetchedWork) -> EntitySource:
    """The entity's source.

    Raises:
        MalformedError: its pipeline lands no entity.
    """
    if not isinstance(work.pipeline.source, EntitySource):
        raise MalformedError(f"pipeline {work.pipeline.name} lands no entity")
    return work.pipeline.source


def check_name(work: FetchedWork) -> None:
    """Check that a request is for the segment that the object's key names.

    Raises:
        MalformedError: it is for another.
    """
    name = name_of(work.pipeline, work.key)
    if (name.run_id, name.segment_id) != (work.run_id, work.segment_id):
        raise MalformedError(f"s3://{work.location} is not segment {work.segment_id} of run {work.run_id}")


def is_over(run: Run) -> bool:
    """Whether a run has ended, so that none of its segments is needed any more."""
    return run.state not in {RunState.PLANNING, RunState.RUNNING}


def reopened(work: FetchedWork, load_type: LoadType, now: str) -> Run:
    """The run of a segment whose entry in the ledger was lost."""
    return Run(
        run_id=work.run_id,
        pipeline=work.pipeline.name,
        mode=RunMode(load_type.value),
        state=RunState.RUNNING,
        started_at=now,
    )


def load_type_of(run: Run | None) -> LoadType:
    """What a run of an entity reads; what the ledger lost passes for an increment, which takes nothing back."""
    if run is not None and run.mode in _FULL:
        return LoadType.FULL
    return LoadType.KEYS if run is not None and run.mode is RunMode.KEYS else LoadType.INCREMENTAL


def fields_of(source: RestSource, load_type: LoadType) -> list[EntityField]:
    """The columns that records become, in the order in which they are declared; of a load of keys only those."""
    names = source.key if load_type is LoadType.KEYS else list(source.fields)
    return [EntityField(name=name, type=source.fields[name]) for name in names]


def check_landing(work: FetchedWork, landing: Landing, promised: str) -> None:
    """Check that a landing file is the one that its key names.

    Args:
        work: what the key names.
        landing: the file's trailer.
        promised: rows that the object's metadata says.

    Raises:
        MalformedError: it is another, or has other rows.
    """
    names = (landing.pipeline, landing.run_id, landing.segment_id)
    if names != (work.pipeline.name, work.run_id, work.segment_id):
        raise MalformedError(f"its trailer is that of {'/'.join(names)}")
    if promised != str(landing.rows):
        raise MalformedError(f"it has {landing.rows} rows, and its metadata says {promised!r}")


def landed_segment(work: FetchedWork, rows: Rows) -> LandedSegment:
    """What the merger is told of a segment."""
    return LandedSegment(
        pipeline=work.pipeline.name,
        run_id=work.run_id,
        run_date=work.run_date,
        segment_id=work.segment_id,
        load_type=rows.load_type,
        fields=list(rows.fields),
        bucket=rows.bucket,
        key=rows.info.key,
        version_id=rows.info.version_id,
        etag=rows.info.etag,
        counts=SegmentCounts(received=rows.count, rows=rows.count),
        chunks=list(rows.chunks),
        least_cursor=rows.proven.least_cursor,
        greatest_cursor=rows.proven.greatest_cursor,
    )
