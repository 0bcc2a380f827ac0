"""Chunks: what a run of a chunked job consists of, the commands about them, and the actions that can be asked for."""

from datetime import date
from enum import StrEnum
from typing import Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from contracts.envelope import Contract, Json, Payload

WHOLE = "whole"
"""Id of the only chunk of a run in one piece."""


class ChunkPayload(Contract):
    """The invocation payload of a chunked run; what is absent is as the job declares it."""

    first_day: date | None = None
    last_day: date | None = None
    target_rows: PositiveInt | None = None
    max_rows: PositiveInt | None = None
    max_keys: PositiveInt | None = None

    @model_validator(mode="after")
    def _days_are_in_order(self) -> Self:
        if self.first_day is not None and self.last_day is not None and self.first_day > self.last_day:
            raise ValueError("first_day is after last_day")
        return self


class PlannedChunk(Contract):
    """One chunk of a plan. Its keys lie at ``plans/{run_id}/chunks/{sha256}.json`` in the state bucket."""

    chunk_id: str
    rows: NonNegativeInt = Field(description="rows of its keys when the plan was made")
    keys: NonNegativeInt
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="digest of its keys; None: all keys there are"
    )


class ChunkPlan(Contract):
    """What a chunked run does. It lies at ``plans/{run_id}/plan.json`` in the state bucket, written once."""

    run_id: str
    pipeline: str
    first_day: date
    last_day: date
    rows: NonNegativeInt
    keys: NonNegativeInt
    chunks: list[PlannedChunk]
    warnings: list[str] = Field(default_factory=list, description="keys that are larger than a chunk should be")

    def chunk(self, chunk_id: str) -> PlannedChunk | None:
        """The chunk of this id, if there is one."""
        return next((chunk for chunk in self.chunks if chunk.chunk_id == chunk_id), None)


class ChunkKeys(Contract):
    """The keys of one chunk, as PostgreSQL writes their values; None is NULL."""

    columns: list[str]
    values: list[list[str | None]] = Field(description="for each column the values of all keys, in order")
    rows: list[NonNegativeInt] = Field(description="rows of each key when the plan was made")

    @model_validator(mode="after")
    def _is_rectangular(self) -> Self:
        if len(self.values) != len(self.columns) or any(len(each) != len(self.rows) for each in self.values):
            raise ValueError("every column needs a value for every key")
        return self


class ProcessChunk(Payload):
    """Command to a chunk worker: bring one chunk of a run to its end."""

    pipeline: str
    run_id: str
    chunk_id: str
    task_token: str | None = Field(default=None, description="of a state machine that waits for the result")

    def dedup_id(self) -> str:
        """One effect for each chunk of a run."""
        return f"{self.run_id}/{self.chunk_id}"


class ActionName(StrEnum):
    """What can be asked of a chunked job, by the names that callers of the report's function know."""

    VALIDATE_CONFIG = "validate_config"
    TEST_POSTGRES = "test_postgres"
    TEST_SNOWFLAKE = "test_snowflake"
    TASK_01 = "task_01"
    TASK_02 = "task_02"
    GET_CHUNKS = "get_task02_chunks"
    PROCESS_CHUNK = "process_task02_chunk"


class ActionPayload(Contract):
    """What an action may be given."""

    run_id: str | None = Field(default=None, description="default: a new one for task_01, else the job's present run")
    chunk_id: str | None = Field(default=None, description="of process_task02_chunk")
    chunk: ChunkPayload = ChunkPayload()


class RunAction(Payload):
    """Command to a chunk worker: carry out an action and tell the state machine that waits for it."""

    pipeline: str
    action: ActionName
    payload: ActionPayload = ActionPayload()
    task_token: str | None = None

    def dedup_id(self) -> str:
        """Actions may be repeated: each finds what an earlier one has done."""
        return f"{self.pipeline}/{self.action}/{self.payload.run_id}/{self.payload.chunk_id}"


class ChunkOutcome(Contract):
    """What became of one chunk."""

    chunk_id: str
    run_id: str
    rows: NonNegativeInt = Field(description="rows updated")
    rows_marked: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    parts: NonNegativeInt = Field(default=0, description="parts it was split into; 0: it was done in one piece")


class ActionResult(Contract):
    """What an action answers."""

    action: ActionName
    status: str = "success"
    run_id: str | None = None
    details: Json = Field(default_factory=dict)
