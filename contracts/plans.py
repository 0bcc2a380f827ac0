"""Plans: what a run will do, written down before anything is dispatched, and shown by a dry run."""

from pydantic import Field, NonNegativeInt, PositiveInt

from contracts.envelope import Contract
from contracts.fetching import KeyRange
from contracts.runs import RunMode


class PlannedRange(Contract):
    """One segment of a collecting run."""

    segment_id: str
    range: KeyRange
    expected_rows: NonNegativeInt


class CollectPlan(Contract):
    """What a collecting run reads and what its success will move; all cursors are the source's literal text."""

    run_id: str
    pipeline: str
    mode: RunMode
    started_at: str = Field(description="when the run was opened in the ledger that the plan was made from")
    run_date: str = Field(description="YYYY-MM-DD; names raw objects and partition files")
    segments: list[PlannedRange]
    start: str = Field(description="first cursor it reads")
    end: str = Field(description="last complete cursor it reads; start if there is nothing")
    asked_from: str | None = Field(
        default=None, description="where the request wanted to start; a forced load that goes on starts later"
    )
    frontier: str | None = Field(default=None, description="what the watermark may say afterwards; None: it stays")
    complete_until: str | None = None
    watermark_version: NonNegativeInt = 0
    limit: PositiveInt | None = Field(default=None, description="max_records, if the run stops there")
    mirror: str | None = None
    resume: str | None = None
    resume_version: NonNegativeInt = 0

    @property
    def expected_rows(self) -> int:
        """Rows of all segments when they were counted."""
        return sum(segment.expected_rows for segment in self.segments)


class PreviewedSegment(Contract):
    """One segment of a preview; ``label`` says for people what is in it."""

    segment_id: str
    label: str
    rows: NonNegativeInt = Field(description="rows, or occurrences where objects are scanned")


class PlanPreview(Contract):
    """What a dry run found. It lies at ``plans/{run_id}/preview.json`` in the state bucket."""

    run_id: str
    pipeline: str
    mode: RunMode
    segments: list[PreviewedSegment]
    rows: NonNegativeInt
    requests: NonNegativeInt = Field(description="reads of the source: pages, or objects")
    messages: NonNegativeInt = Field(description="commands that would be sent")
    start: str | None = None
    end: str | None = None
    frontier: str | None = None
    limit: PositiveInt | None = None
    error: str | None = Field(default=None, description="why no plan can be made")
    warnings: list[str] = Field(default_factory=list, description="what an operator should know before the run")
