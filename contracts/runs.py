"""Runs: one request to bring a pipeline up to date, from plan to settled ledger."""

from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, ConfigDict, Field, NonNegativeInt

from contracts.envelope import Contract, Payload
from contracts.segments import Occurrence


class RunMode(StrEnum):
    """Why a run exists."""

    SCAN = "scan"
    EVENTS = "events"
    REPLAY = "replay"


class RunState(StrEnum):
    """Where a run stands. Only RUNNING runs change; the others are final."""

    PLANNING = "planning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ScanPayload(Contract):
    """The invocation payload of a scan; every field overrides the pipeline's declaration for this run."""

    source_bucket: str | None = None
    prefix: str | None = None
    checkpoint_bucket: str | None = None
    checkpoint_key: str | None = None
    since_timestamp: AwareDatetime | None = Field(
        default=None, description="keep events strictly newer than this; late events are then left out"
    )


class PlanRun(Payload):
    """Command to the planner: plan a run and dispatch its segments."""

    pipeline: str
    run_id: str
    mode: RunMode = RunMode.SCAN
    payload: ScanPayload = ScanPayload()
    occurrences: list[Occurrence] = Field(default_factory=list, description="what a replay reads again")

    def dedup_id(self) -> str:
        """One plan per run."""
        return self.run_id


class ScheduledScan(Payload):
    """Command to the planner from a schedule: scan a pipeline; one slot starts one run."""

    pipeline: str
    slot: datetime = Field(description="the scheduled time, as the scheduler gives it")

    def dedup_id(self) -> str:
        """One run per pipeline and slot."""
        return f"{self.pipeline}@{self.slot.isoformat()}"


class RunCompleted(Payload):
    """Fact: every segment of a run is settled and its ledger balances."""

    pipeline: str
    run_id: str
    state: RunState
    records: NonNegativeInt = Field(description="rows that are new in the output")

    def dedup_id(self) -> str:
        """A run completes once."""
        return f"{self.run_id}/completed"


class RunFailed(Payload):
    """Fact: a run ended without settling everything; the reason says why."""

    pipeline: str
    run_id: str
    reason: str

    def dedup_id(self) -> str:
        """A run fails once."""
        return f"{self.run_id}/failed"


class ScanResponse(Contract):
    """The response of a scan, field for field as event-log checkpoint callers know it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    status_code: int = Field(alias="statusCode")
    checkpoint_path: str
    new_events_processed: NonNegativeInt
    total_events: NonNegativeInt
    events_failed: NonNegativeInt
    last_processed_timestamp: str | None
    execution_time_ms: NonNegativeInt
    run_id: str


class ErrorDetails(Contract):
    """Which objects failed, and how many."""

    failed_files: list[str]
    error_count: NonNegativeInt


class ErrorResponse(Contract):
    """The error response of a scan."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    status_code: int = Field(alias="statusCode")
    error: str
    message: str
    details: ErrorDetails
