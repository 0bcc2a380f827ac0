"""Decisions on what a run has to do; pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import NonNegativeInt

from contracts.envelope import ClaimCheck, Contract
from contracts.pipelines import Pipeline
from contracts.runs import ScanPayload
from contracts.segments import Destination, Disposition, Occurrence
from services.runtime.occurrences import Mark


class PlannedSegment(Contract):
    """One segment of a plan; its occurrences are checked in."""

    segment_id: str
    occurrences: NonNegativeInt
    claim: ClaimCheck


class Plan(Contract):
    """What a run consists of. Written once, before anything is dispatched: a planner that dies is continued."""

    run_id: str
    pipeline: str
    started_at: str
    """When the run was opened in the ledger that the plan was made from."""
    segments: list[PlannedSegment]
    listed: NonNegativeInt
    ignored: NonNegativeInt
    settled: NonNegativeInt
    frontier: str | None = None
    watermark_version: NonNegativeInt = 0
    destination: Destination | None = None
    since_timestamp: str | None = None
    replay: bool = False

    @property
    def dispatched(self) -> int:
        """Occurrences in all segments."""
        return sum(segment.occurrences for segment in self.segments)


def destination_of(pipeline: Pipeline, payload: ScanPayload, default_bucket: str) -> Destination | None:
    """The destination a payload asks for, or None when it is the pipeline's own."""
    bucket = payload.checkpoint_bucket or pipeline.target.bucket or default_bucket
    key = payload.checkpoint_key or pipeline.target.key
    own = (pipeline.target.bucket or default_bucket, pipeline.target.key)
    return None if (bucket, key) == own else Destination(bucket=bucket, key=key)


def claims_frontier(pipeline: Pipeline, payload: ScanPayload, default_source: str, *, own_target: bool) -> bool:
    """Whether a scan covers the pipeline's whole source, so that it may move the watermark when it succeeds."""
    return (
        own_target
        and payload.since_timestamp is None
        and payload.source_bucket in {None, default_source}
        and payload.prefix in {None, pipeline.source.prefix}
    )


def needs_check(last_modified: datetime | None, watermark: str | None, lag_hours: int) -> bool:
    """Whether an object may be unsettled; what is older than the watermark less its lag was proven settled."""
    if watermark is None or last_modified is None:
        return True
    return last_modified >= datetime.fromisoformat(watermark) - timedelta(hours=lag_hours)


def unsettled(
    occurrences: Sequence[Occurrence], marks: Mapping[str, Sequence[Mark]], live: Mapping[Mark, bool]
) -> list[Occurrence]:
    """Occurrences that no live mark settles. ``live`` says of each row's mark whether its version still counts."""

    def settles(mark: Mark) -> bool:
        if mark.disposition is Disposition.MERGED:
            return live[mark]
        return mark.disposition is not Disposition.IGNORED  # its key did not match then; now it does

    return [o for o in occurrences if not any(settles(mark) for mark in marks.get(o.id, ()))]


def cut(occurrences: Sequence[Occurrence], size: int) -> list[list[Occurrence]]:
    """Segments of at most ``size`` occurrences, evenly filled."""
    if not occurrences:
        return []
    count = -(-len(occurrences) // size)
    even = -(-len(occurrences) // count)
    return [list(occurrences[start : start + even]) for start in range(0, len(occurrences), even)]


def run_id_of_slot(pipeline: str, slot: datetime) -> str:
    """One schedule slot is one run, however often it is delivered."""
    return f"{pipeline}-slot-{slot:%Y%m%dT%H%M%SZ}"
