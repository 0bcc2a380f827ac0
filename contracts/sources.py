"""Where a pipeline's records come from."""

import re
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from contracts.envelope import Contract
from contracts.fields import FieldType


class ObjectSource(Contract):
    """Records that external systems upload as objects, one record a file."""

    kind: Literal["objects"]
    bucket: str | None = Field(default=None, description="default: the stack's raw bucket")
    prefix: str = ""
    key_patterns: list[str] = Field(min_length=1, description="regular expressions for the last part of a key")
    lag_hours: PositiveInt = Field(
        default=24, description="an upload may become visible this much after its LastModified (multipart)"
    )

    @field_validator("key_patterns")
    @classmethod
    def _compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return patterns

    def accepts(self, key: str, *, prefix: str | None = None) -> bool:
        """Whether a key under the prefix (a run may name another) is one of this pipeline's files.

        Others are ignored and counted.
        """
        name = key.rsplit("/", 1)[-1]
        return key.startswith(self.prefix if prefix is None else prefix) and any(
            re.fullmatch(p, name) for p in self.key_patterns
        )


_FETCHED = (
    r"(?P<run_date>\d{4}/\d{2}/\d{2})/(?P<pipeline>[^/]+)/(?P<run_id>[^/]+)/"
    r"(?P<segment_id>[^/]+)\.(?P<suffix>json\.gz|land)"
)


class SocrataSource(Contract):
    """A dataset of an open-data portal (SODA 2.x): planned into segments, fetched side by side by keyset."""

    kind: Literal["socrata"]
    domain: str = Field(default="https://data.cityofnewyork.us", pattern=r"^https?://[^/\s]+$")
    dataset: str | None = Field(
        default=None, pattern=r"^[a-z0-9]{4}-[a-z0-9]{4}$", description="default: what SOCRATA_DATASET_ID says"
    )
    where: str = Field(default="", description="SoQL condition on the rows that are wanted")
    cursor: str = Field(description="column that grows with time: what the watermark holds")
    unique_key: str = Field(description="column that tells rows apart")
    lag_hours: PositiveInt = Field(default=48, description="rows may be published this much after their cursor")
    initial_lookback_days: PositiveInt = 365
    max_records: PositiveInt = Field(default=10_000, description="most rows of new ground that one run covers")
    batch_size: PositiveInt = Field(default=2_000, le=50_000, description="rows a request")
    segment_rows: PositiveInt = Field(default=10_000, description="rows a segment aims at")
    requests_per_second: PositiveFloat = Field(default=20.0, description="of all fetchers together")
    bucket: str | None = Field(default=None, description="for raw objects; default: the stack's raw bucket")
    prefix: str = Field(default="raw/", description="of raw objects: {prefix}YYYY/MM/DD/{pipeline}/{run}/{segment}")

    def accepts(self, key: str, *, prefix: str | None = None) -> bool:
        """Whether a key can be one of the raw objects that the fetcher writes."""
        start = self.prefix if prefix is None else prefix
        return key.startswith(start) and re.fullmatch(_FETCHED, key.removeprefix(start)) is not None


class FetchedName(Contract):
    """What the key of a fetched raw object says: a pure function of the segment, so it can be computed and read."""

    run_date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="day of the run")
    pipeline: str
    run_id: str
    segment_id: str
    suffix: Literal["json.gz", "land"] = Field(
        default="json.gz", description="gzip-compressed NDJSON, or a landing file of typed rows (contracts/loads.py)"
    )

    def key(self, prefix: str) -> str:
        """The object's key under a source's prefix."""
        day = self.run_date.replace("-", "/")
        return f"{prefix}{day}/{self.pipeline}/{self.run_id}/{self.segment_id}.{self.suffix}"

    @classmethod
    def read(cls, prefix: str, key: str) -> Self | None:
        """The name that a key spells, or None where a fetcher did not write it."""
        found = re.fullmatch(_FETCHED, key.removeprefix(prefix)) if key.startswith(prefix) else None
        if found is None:
            return None
        return cls(**found.groupdict() | {"run_date": found["run_date"].replace("/", "-")})


class _EntitySource(Contract):
    """What every source of one entity has: a table, or the records behind one path of an API."""

    system: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="what _source_system says: rds, api")
    key: list[str] = Field(min_length=1, description="columns that identify a record")
    cursor: str = Field(description="timestamp that every change of a record moves forward")
    event_date: str | None = Field(default=None, description="date or timestamp of the record's business date")
    soft_delete: str | None = Field(default=None, description="column that marks deleted records; carried as it is")
    overlap_seconds: NonNegativeInt = Field(
        default=0, description="so much of the last window is read again; what is in bronze already is dropped"
    )
    bucket: str | None = Field(default=None, description="for raw objects; default: the stack's raw bucket")
    prefix: str = Field(default="raw/", description="of raw objects: {prefix}YYYY/MM/DD/{pipeline}/{run}/{segment}")

    @model_validator(mode="after")
    def _key_is_distinct(self) -> Self:
        if len(set(self.key)) < len(self.key):
            raise ValueError(f"key names a column twice: {self.key}")
        return self

    def accepts(self, key: str, *, prefix: str | None = None) -> bool:
        """Whether a key can be one of the raw objects that the fetcher writes."""
        start = self.prefix if prefix is None else prefix
        return key.startswith(start) and re.fullmatch(_FETCHED, key.removeprefix(start)) is not None


class _TableSource(_EntitySource):
    """What tables of a database have in common."""

    secret: str = Field(description="name or ARN in Secrets Manager of the JSON document that says how to connect")
    database_schema: str = Field(default="public", description="schema that the table is in")
    table: str = Field(min_length=1)
    lag_seconds: NonNegativeInt = Field(
        default=5, description="a row may carry a cursor this much older than any open transaction that could write it"
    )
    types: dict[str, FieldType] = Field(
        default_factory=dict, description="types of columns that the source types too loosely: numeric without scale"
    )
    segment_rows: PositiveInt = Field(default=250_000, description="most rows a segment aims at")
    segment_bytes: PositiveInt = Field(
        default=64 * 1024 * 1024, description="most bytes a segment aims at, uncompressed"
    )


class PostgresSource(_TableSource):
    """A table (or view) of PostgreSQL."""

    kind: Literal["postgres"]
    statement_timeout_s: PositiveInt = Field(default=840, description="of one segment's query, seconds")


class SnowflakeSource(_TableSource):
    """A table of Snowflake; needs the optional extra ``tidegate[snowflake]``."""

    kind: Literal["snowflake"]
    database_schema: str = "PUBLIC"
    lag_seconds: NonNegativeInt = 300


class RestSource(_EntitySource):
    """Records behind one path of a JSON API."""

    kind: Literal["rest"]
    url: str = Field(description="the API's base address, without the path")
    path: str = Field(pattern=r"^/\S*$")
    secret: str | None = Field(
        default=None, description="name or ARN in Secrets Manager of the API key: the text itself, or JSON with api_key"
    )
    header: str = Field(default="x-api-key", pattern=r"^[A-Za-z0-9-]+$", description="that carries the API key")
    fields: dict[str, FieldType] = Field(min_length=1, description="what a record has; other members stay in raw")
    records: str | None = Field(default=None, description="member that holds the records; default: the answer itself")
    since: str | None = Field(default="since", description="parameter for the lower bound; none: always read all")
    pagination: Literal["none", "page", "cursor"] = "none"
    page_parameter: str = Field(default="page", description="number of the page, from 1")
    size_parameter: str = "limit"
    page_size: PositiveInt = Field(default=500, le=50_000)
    cursor_parameter: str = Field(default="cursor", description="parameter for the next page's cursor")
    next_cursor: str = Field(default="next_cursor", description="member of the answer that holds it; absent at the end")
    requests_per_second: PositiveFloat = Field(default=10.0, description="of all fetchers together")
    lag_seconds: NonNegativeInt = Field(default=60, description="a record may show up this much after its cursor")

    @model_validator(mode="after")
    def _fields_are_there(self) -> Self:
        for where, names in (("key", self.key), ("cursor", [self.cursor]), ("event_date", [self.event_date])):
            for name in names:
                if name is not None and name not in self.fields:
                    raise ValueError(f"{where}: {name!r} is not in fields; they are {sorted(self.fields)}")
        if not self.fields[self.cursor].startswith("timestamp_us"):
            raise ValueError(f"cursor: {self.cursor!r} must be a timestamp_us or timestamp_us_utc")
        return self


EntitySource = PostgresSource | RestSource | SnowflakeSource
TableSource = PostgresSource | SnowflakeSource
