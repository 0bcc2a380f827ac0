"""The model of a chunked job's declaration: keys that belong together, and the statements that work on them.

A job lies in a folder of its own among the pipelines, ``{name}/job.toml`` with its SQL files beside it. Two of them
make a job: ``distribution`` says how many rows each key has, ``process`` works on the rows of the keys of one chunk.
The other statements are for jobs that need more: a snapshot to work on, rows that show people who works on them, a flag
to lower.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from contracts.envelope import Contract
from contracts.pipelines import NAME, InvalidPipelineError

KeyType = Literal[
    "smallint", "integer", "bigint", "numeric", "boolean", "text", "varchar", "uuid", "date", "timestamp", "timestamptz"
]
"""PostgreSQL types that a key column may have."""

Argument = Literal["run_id", "first_day", "last_day"]
"""What a statement may be given: the run's id, and the first and last day of the job's window."""

File = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/].*\.sql$")]
"""A file beside the declaration, by its path from there."""


class KeyColumn(Contract):
    """One column of the key; ``process`` and ``mark`` take an array of its values."""

    type: KeyType
    plural: str | None = Field(default=None, description="for people: what several values of it are called")


class Statement(Contract):
    """A statement in a file, and what it is given, in order."""

    file: File
    given: list[Argument] = Field(default_factory=list)


class Analytics(Contract):
    """Another database, from which a snapshot can be taken."""

    kind: Literal["postgres", "snowflake"]
    secret: str = Field(description="name or ARN of the secret that says how to connect")


class Copy(Contract):
    """Rows of ``analytics``, put into a temporary table that stands before the table of the same name meanwhile."""

    query: Statement
    into: str = Field(min_length=1, description="table whose columns the query's columns fill, by their names")


class JobDatabase(Contract):
    """The PostgreSQL database that a job works in."""

    secret: str = Field(description="name or ARN of the secret that says how to connect")
    search_path: list[str] = Field(default=["public"], min_length=1)
    statement_timeout_s: PositiveInt = Field(default=600, description="seconds a statement may take")
    lock_timeout_s: PositiveInt = Field(default=30, description="seconds a statement waits for a lock")
    idle_timeout_s: PositiveInt = Field(
        default=30, description="seconds after which the server ends a transaction whose worker has fallen silent"
    )


class ChunkSizes(Contract):
    """How keys are put together."""

    target_rows: PositiveInt = Field(default=10_000, description="rows that a chunk aims at")
    max_rows: PositiveInt = Field(default=50_000, description="a key with more is worth a warning")
    max_keys: PositiveInt = Field(default=1_000, description="keys of one chunk")
    concurrency: PositiveInt = Field(
        default=5, description="chunks worked on at the same time, wherever the workers are"
    )
    mark_after_s: NonNegativeFloat = Field(
        default=2.0, description="a chunk that is expected to take longer is marked for people; 0 marks every chunk"
    )


class DayWindow(Contract):
    """Days that a run covers, counted from the day it was asked for (UTC)."""

    lookback_years: int = Field(default=2, ge=0, le=100)
    lookahead_days: int = Field(default=30, ge=0, le=36_500)


class HealthLimits(Contract):
    """Beyond any of these the database is left alone for a while; None is no limit."""

    replication_lag_s: PositiveFloat | None = Field(default=60.0, description="seconds the slowest replica is behind")
    lock_waits: PositiveInt | None = Field(default=20, description="sessions that wait for a lock")
    dead_tuple_ratio: float | None = Field(
        default=None, gt=0, le=1, description="dead of all rows of any of the tables"
    )
    tables: list[str] = Field(default_factory=list, description="tables whose dead rows count")


class JobStatements(Contract):
    """The statements of a job."""

    setup: list[File] = Field(default_factory=list, description="tables and functions; each may run again")
    prepare: list[Statement | Copy] = Field(default_factory=list, description="a run's snapshot, in one transaction")
    preview: Statement | None = Field(default=None, description="like distribution, before there is a snapshot")
    distribution: File = Field(description="key columns and rows of each key, in the order in which they lie")
    mark: File | None = Field(default=None, description="shows people which rows are being worked on")
    process: File = Field(description="works on the rows of the keys it is given, an array for each key column")
    gone: File | None = Field(default=None, description="counts rows of the keys that are there no more")
    whole: File | None = Field(default=None, description="the same as process, for all keys at once")
    finish: Statement | None = Field(default=None, description="after the last chunk")


class ChunkJob(Contract):
    """A whole declaration."""

    name: str = Field(pattern=NAME)
    description: str = ""
    database: JobDatabase
    keys: dict[str, KeyColumn] = Field(min_length=1, description="in the order of the statements' parameters")
    chunks: ChunkSizes = ChunkSizes()
    window: DayWindow = DayWindow()
    health: HealthLimits = HealthLimits()
    analytics: Analytics | None = None
    sql: JobStatements

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if self.chunks.max_rows < self.chunks.target_rows:
            raise ValueError("chunks.max_rows is less than chunks.target_rows")
        if self.health.dead_tuple_ratio is not None and not self.health.tables:
            raise ValueError("health.dead_tuple_ratio needs health.tables")
        if self.analytics is None and any(isinstance(step, Copy) for step in self.sql.prepare):
            raise ValueError("sql.prepare: a copy needs the analytics to copy from")
        if "rows" in self.keys:
            raise ValueError("keys.rows: the distribution's count has this name")
        return self

    @property
    def files(self) -> list[str]:
        """Every file that it names, each once."""
        sql = self.sql
        steps = [step.file if isinstance(step, Statement) else step.query.file for step in sql.prepare]
        given = [each.file for each in (sql.preview, sql.finish) if each is not None]
        plain = [each for each in (sql.mark, sql.gone, sql.whole) if each is not None]
        return list(dict.fromkeys([*sql.setup, *steps, sql.distribution, sql.process, *given, *plain]))

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, where: str) -> Self:
        """Read a loaded TOML document.

        Raises:
            InvalidPipelineError: with the file, the place in it and the reason, in one line.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            places = [f"{'.'.join(map(str, d['loc'])) or 'document'}: {d['msg']}" for d in details]
            raise InvalidPipelineError(f"{where}: " + "; ".join(places)) from error
