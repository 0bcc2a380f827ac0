"""The model of a pipeline declaration: the TOML file that is all a data engineer writes.

A declaration names where records come from, what one record must look like, which rows are wanted and where the
result goes. ``Pipeline.parse`` turns a loaded TOML document into it or says in one line what is wrong and where.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, model_validator

from contracts.envelope import Contract
from contracts.records import COLUMNS, RECORDS, ColumnType
from contracts.sources import EntitySource, ObjectSource, PostgresSource, RestSource, SnowflakeSource, SocrataSource
from contracts.targets import RUN_DATE, BronzeTarget, CheckpointTarget, PartitionTarget

NAME = r"^[a-z][a-z0-9_]{0,47}$"
MEMBER = r"^[a-z][a-z0-9_]{0,47}(\.[a-z][a-z0-9_]{0,47})?$"
"""A pipeline's name; one of a group is called ``{group}.{entity}``."""


class InvalidPipelineError(ValueError):
    """A pipeline declaration is wrong; the text says what and where, in one line."""


class DropRule(Contract):
    """Rows that are valid but not wanted; what a rule drops is counted as filtered."""

    field: str
    starts_with: str = Field(min_length=1)


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

    name: str = Field(pattern=MEMBER)
    description: str = ""
    entity: str = Field(pattern=NAME, description="what one record is; names the watermark")
    record: str | None = Field(default=None, description="record schema, one of contracts.records")
    columns: dict[str, Column] = Field(default_factory=dict, description="or the columns, declared here")
    source: Annotated[
        ObjectSource | SocrataSource | PostgresSource | RestSource | SnowflakeSource, Field(discriminator="kind")
    ]
    target: Annotated[CheckpointTarget | PartitionTarget | BronzeTarget, Field(discriminator="kind")]
    drop: list[DropRule] = Field(default_factory=list)
    limits: BatchLimits = BatchLimits()
    queries: dict[str, Query] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if isinstance(self.source, EntitySource) or isinstance(self.target, BronzeTarget):
            self._check_landed()
            return self
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

    def _check_landed(self) -> None:
        if not (isinstance(self.source, EntitySource) and isinstance(self.target, BronzeTarget)):
            mistake = (
                "sources of kind 'postgres', 'rest' and 'snowflake' go with target.kind 'bronze', and no others do"
            )
            raise ValueError(mistake)  # noqa: TRY004 - Pydantic collects ValueErrors only
        if self.record is not None or self.columns or self.drop:
            raise ValueError("record, columns and drop are not for entities: bronze keeps what the source has")

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
        if isinstance(self.target, BronzeTarget):
            return
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
        """Whether it is collected from a portal into a table of partition files, each unique key once."""
        return isinstance(self.source, SocrataSource)

    @property
    def is_landed(self) -> bool:
        """Whether its entity's versions are landed in bronze, as the source has them."""
        return isinstance(self.target, BronzeTarget)

    @property
    def is_fetched(self) -> bool:
        """Whether we fetch the rows ourselves, rather than find objects that others uploaded."""
        return not isinstance(self.source, ObjectSource)

    @property
    def group(self) -> str | None:
        """The group that declares it as one of its entities; None of a pipeline of its own."""
        group, _, member = self.name.rpartition(".")
        return group if member and group else None

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
