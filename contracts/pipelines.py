"""The model of a pipeline declaration: the TOML file that is all a data engineer writes.

A declaration names where records come from, what one record must look like, which rows are wanted and where the
result goes. ``Pipeline.parse`` turns a loaded TOML document into it or says in one line what is wrong and where.
"""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from contracts.envelope import Contract
from contracts.records import COLUMNS, RECORDS, ColumnType

NAME = r"^[a-z][a-z0-9_]{0,47}$"


class InvalidPipelineError(ValueError):
    """A pipeline declaration is wrong; the text says what and where, in one line."""


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


RUN_DATE = "run_date"
"""Field of a target's key: the day of the run, YYYY-MM-DD."""

_FETCHED = r"(?P<run_date>\d{4}/\d{2}/\d{2})/(?P<pipeline>[^/]+)/(?P<run_id>[^/]+)/(?P<segment_id>[^/]+)\.json\.gz"


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

    def key(self, prefix: str) -> str:
        """The object's key under a source's prefix."""
        day = self.run_date.replace("-", "/")
        return f"{prefix}{day}/{self.pipeline}/{self.run_id}/{self.segment_id}.json.gz"

    @classmethod
    def read(cls, prefix: str, key: str) -> Self | None:
        """The name that a key spells, or None where a fetcher did not write it."""
        found = re.fullmatch(_FETCHED, key.removeprefix(prefix)) if key.startswith(prefix) else None
        if found is None:
            return None
        return cls(**found.groupdict() | {"run_date": found["run_date"].replace("/", "-")})


class DropRule(Contract):
    """Rows that are valid but not wanted; what a rule drops is counted as filtered."""

    field: str
    starts_with: str = Field(min_length=1)


class _Target(Contract):
    """What every kind of target has."""

    bucket: str | None = None
    key: str
    order_by: str = Field(description="column each object is sorted by")

    @property
    def fields(self) -> list[str]:
        """The fields that the key template uses, in order."""
        return [name for _, name, _, _ in Formatter().parse(self.key) if name is not None]


class CheckpointTarget(_Target):
    """One sorted Parquet object per checkpoint key."""

    kind: Literal["checkpoint"]
    bucket: str | None = Field(default=None, description="default: the stack's checkpoints bucket")
    key: str = Field(description="may use the record's fields: checkpoints/{study}/{datatype}/events.parquet")


class PartitionTarget(_Target):
    """A tree of Parquet objects, by the rows' own columns and the day of the run; each unique key is in it once."""

    kind: Literal["partitions"]
    bucket: str | None = Field(default=None, description="default: the stack's processed bucket")
    key: str = Field(description="processed/year={created_date:%Y}/data_{run_date}.parquet; columns may have formats")
    state_mirror: str | None = Field(
        default=None, description="key of a JSON object that shows the watermark to people; deleting it starts over"
    )

    @property
    def prefix(self) -> str:
        """What every object's key begins with: the template up to its first field."""
        return self.key.split("{", 1)[0]


class Column(Contract):
    """One declared column of the output."""

    type: ColumnType
    required: bool = Field(default=False, description="a row without it is quarantined")
    on_error: Literal["quarantine", "null"] = Field(
        default="quarantine", description="what becomes of a value that is not of the type: its row or it alone"
    )


class BatchLimits(Contract):
    """How much work one segment and one commit may hold."""

    objects_per_segment: PositiveInt = Field(default=2_000, le=50_000)
    reads_in_flight: PositiveInt = Field(default=64, le=512, description="concurrent object reads")


class Query(Contract):
    """A named query; ``{table}`` stands for the output, ``$name`` for a parameter (NULL unless given)."""

    description: str
    sql: str


class Pipeline(Contract):
    """A whole declaration."""

    name: str = Field(pattern=NAME)
    description: str = ""
    entity: str = Field(pattern=NAME, description="what one record is; names the watermark")
    record: str | None = Field(default=None, description="record schema, one of contracts.records")
    columns: dict[str, Column] = Field(default_factory=dict, description="or the columns, declared here")
    source: Annotated[ObjectSource | SocrataSource, Field(discriminator="kind")]
    target: Annotated[CheckpointTarget | PartitionTarget, Field(discriminator="kind")]
    drop: list[DropRule] = Field(default_factory=list)
    limits: BatchLimits = BatchLimits()
    queries: dict[str, Query] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.record is None) == (not self.columns):
            raise ValueError("exactly one of record and columns says what a row looks like")
        if self.record is not None and self.record not in RECORDS:
            raise ValueError(f"record {self.record!r} is not a known schema; known: {sorted(RECORDS)}")
        if isinstance(self.source, SocrataSource):
            self._check_collected(self.source)
        elif self.record is None or not isinstance(self.target, CheckpointTarget):
            raise ValueError("source.kind 'objects' needs a record and target.kind 'checkpoint'")
        self._check_fields()
        return self

    def _check_collected(self, source: SocrataSource) -> None:
        if not self.columns or not isinstance(self.target, PartitionTarget):
            raise ValueError("source.kind 'socrata' needs columns and target.kind 'partitions'")
        for where, name, type_ in (
            ("source.cursor", source.cursor, "timestamp_us"),
            ("source.unique_key", source.unique_key, "string"),
        ):
            column = self.columns.get(name)
            if column is None or not column.required or column.type != type_:
                raise ValueError(f"{where}: {name!r} must be declared in columns as {type_} and required")

    def _check_fields(self) -> None:
        known = set(self.output_columns)
        used = [("target.order_by", self.target.order_by)]
        used += [(f"drop.{i}.field", rule.field) for i, rule in enumerate(self.drop)]
        used += [("target.key", name) for name in self.target.fields if not (self.is_collected and name == RUN_DATE)]
        for where, field in used:
            if field not in known:
                owner = self.record or "columns"
                raise ValueError(f"{where}: {owner} has no field {field!r}; it has {sorted(known)}")

    @property
    def is_collected(self) -> bool:
        """Whether we fetch the rows ourselves, rather than find objects that others uploaded."""
        return not isinstance(self.source, ObjectSource)

    @property
    def row_key(self) -> str | None:
        """Column that identifies a row of the output; None where its occurrence does."""
        return self.source.unique_key if isinstance(self.source, SocrataSource) else None

    @property
    def output_columns(self) -> Mapping[str, ColumnType]:
        """The output's columns and their types, in order."""
        if self.record is not None:
            return COLUMNS[self.record]
        return {name: column.type for name, column in self.columns.items()}

    @property
    def watermark(self) -> str:
        """Name of the pipeline's watermark."""
        return f"{self.name}#{self.entity}"

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
            places = [_described(d["type"], d["loc"], d["msg"], d.get("ctx", {})) for d in details]
            raise InvalidPipelineError(f"{where}: " + "; ".join(places)) from error


def _described(kind: str, location: tuple[int | str, ...], message: str, context: Mapping[str, Any]) -> str:
    """Place and reason of one mistake; Pydantic also counts the kind of a source or target as a place."""
    if kind == "union_tag_not_found":
        return f"{location[0]}.kind: Field required"
    if kind == "union_tag_invalid":
        return f"{location[0]}.kind: {context['tag']!r} is none of {context['expected_tags']}"
    if location[:1] in {("source",), ("target",)}:
        location = (location[0], *location[2:])
    return f"{'.'.join(map(str, location)) or 'document'}: {message}"
