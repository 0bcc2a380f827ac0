"""Runs: one request to bring a pipeline up to date, from plan to settled ledger."""

from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from contracts.chunks import ChunkPayload
from contracts.envelope import Contract, Payload
from contracts.segments import Occurrence


class RunMode(StrEnum):
    """Why a run exists."""

    SCAN = "scan"
    EVENTS = "events"
    REPLAY = "replay"
    INITIAL = "initial"
    INCREMENTAL = "incremental"
    BACKFILL = "backfill"
    FULL = "full"
    KEYS = "keys"
    CHUNKS = "chunks"


class RunState(StrEnum):
    """Where a run stands. Runs that are PLANNING or RUNNING change; the others have ended."""

    PLANNING = "planning"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ScanPayload(Contract):
    """The invocation payload of a scan; every field overrides the pipeline's declaration for this run."""

    source_bucket: str | None = None
    prefix: str | None = None
    checkpoint_bucket: str | None = None
    checkpoint_key: str | None = None
    since_timestamp: AwareDatetime | None = Field(
        default=None, description="keep events strictly newer than this; late events are then left out"
    )


class CollectPayload(Contract):
    """The invocation payload of a collecting run; what is absent is as the pipeline declares it."""

    force_initial_load: bool = False
    max_records: PositiveInt | None = None
    initial_lookback_days: PositiveInt | None = None


class LoadType(StrEnum):
    """What a load of an entity reads."""

    FULL = "full"
    """Everything; readers take the last full load and what came after it."""
    INCREMENTAL = "incremental"
    """What changed since the watermark; a full load if there is none."""
    KEYS = "keys"
    """The keys of everything, so that readers see what was deleted at the source; the watermark stays."""


class LoadPayload(Contract):
    """The invocation payload of a run of a group or of one of its entities."""

    load_type: LoadType | None = Field(default=None, description="default: what LOAD_TYPE says, else incremental")

    @field_validator("load_type", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


class PlanRun(Payload):
    """Command to the planner: plan a run and dispatch its segments."""

    pipeline: str
    run_id: str
    mode: RunMode = RunMode.SCAN
    payload: ScanPayload = ScanPayload()
    collect: CollectPayload = CollectPayload()
    load: LoadPayload = LoadPayload()
    chunk: ChunkPayload = ChunkPayload()
    entities: list[str] = Field(default_factory=list, description="of a group: only these; default: all")
    parent: str | None = Field(default=None, description="the group's run that this one is a part of")
    dry_run: bool = Field(default=False, description="make the plan and show it (plans/{run_id}/preview.json), no more")
    occurrences: list[Occurrence] = Field(default_factory=list, description="what a replay reads again")
    resume: bool = Field(default=False, description="of a chunked run: go on where it was paused, cancelled or failed")

    def dedup_id(self) -> str:
        """One plan per run."""
        return self.run_id


class ScheduledScan(Payload):
    """Command to the planner from a schedule: scan a pipeline; one slot starts one run."""

    pipeline: str
    slot: datetime = Field(description="the scheduled time, as the scheduler gives it")
    collect: CollectPayload = CollectPayload()
    load: LoadPayload = LoadPayload()
    chunk: ChunkPayload = ChunkPayload()

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


class LimitReached(Payload):
    """Fact: a run stopped at max_records; the next one goes on exactly there."""

    pipeline: str
    run_id: str
    max_records: PositiveInt
    frontier: str = Field(description="cursor of the last complete group of rows that was taken")

    def dedup_id(self) -> str:
        """Once per run."""
        return f"{self.run_id}/limit"


class SchemaDrifted(Payload):
    """Fact: a source has columns that its pipeline does not declare; they stay in the raw objects."""

    pipeline: str
    run_id: str
    columns: list[str]

    def dedup_id(self) -> str:
        """Once per pipeline and columns."""
        return f"{self.pipeline}/{','.join(self.columns)}"


class SchemaChanged(Payload):
    """Fact: an entity's columns are not what they were at its last load; the load goes on with the new ones."""

    pipeline: str
    run_id: str
    version: PositiveInt = Field(description="of the entity's schema")
    added: list[str]
    widened: list[str]
    dropped: list[str]

    def dedup_id(self) -> str:
        """Once per version of an entity's schema."""
        return f"{self.pipeline}/schema/{self.version}"


class LoadPublished(Payload):
    """Fact: a load is in bronze, whole."""

    pipeline: str
    run_id: str
    version: PositiveInt
    load_type: LoadType
    rows: NonNegativeInt
    parts: NonNegativeInt

    def dedup_id(self) -> str:
        """Once per version of an entity."""
        return f"{self.pipeline}/load/{self.version}"


class EntityOutcome(Contract):
    """What became of one entity in a group's run."""

    state: RunState
    records: NonNegativeInt
    last_sync_timestamp: str | None = None
    reason: str | None = None


class LoadBody(Contract):
    """What a group's run brought, entity by entity."""

    message: str
    run_id: str
    load_type: str
    records: NonNegativeInt
    entities: dict[str, EntityOutcome]


class LoadResponse(Contract):
    """The response of a group's run: 200, 207 if some entities failed, 500 if all did."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    status_code: int = Field(alias="statusCode")
    body: LoadBody


class CollectBody(Contract):
    """What a collecting run brought."""

    message: str
    records: NonNegativeInt
    mode: RunMode
    date_range: str
    run_id: str


class CollectResponse(Contract):
    """The response of a collecting run, field for field as callers of a data-collector function know it."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    status_code: int = Field(alias="statusCode")
    body: CollectBody


class ChunkRunBody(Contract):
    """What a chunked run did."""

    message: str
    run_id: str
    chunks: NonNegativeInt
    chunks_failed: NonNegativeInt
    rows: NonNegativeInt = Field(description="rows updated")
    seconds: NonNegativeFloat = Field(description="from the run's opening to its end")


class ChunkRunResponse(Contract):
    """The response of a chunked run: 200, or 500 if it did not do all of its chunks."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    status_code: int = Field(alias="statusCode")
    body: ChunkRunBody


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
