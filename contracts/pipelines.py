"""The model of a pipeline declaration: the TOML file that is all a data engineer writes.

A declaration names where records come from, what one record must look like, which rows are wanted and where the
result goes. ``Pipeline.parse`` turns a loaded TOML document into it or says in one line what is wrong and where.
"""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from contracts.envelope import Contract
from contracts.records import RECORDS

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


class DropRule(Contract):
    """Rows that are valid but not wanted; what a rule drops is counted as filtered."""

    field: str
    starts_with: str = Field(min_length=1)


class CheckpointTarget(Contract):
    """One sorted Parquet object per checkpoint key."""

    kind: Literal["checkpoint"]
    bucket: str | None = Field(default=None, description="default: the stack's checkpoints bucket")
    key: str = Field(description="may use the record's fields: checkpoints/{study}/{datatype}/events.parquet")
    order_by: str = Field(description="column the checkpoint is sorted by")

    @property
    def fields(self) -> list[str]:
        """The record fields that the key template uses, in order."""
        return [name for _, name, _, _ in Formatter().parse(self.key) if name is not None]


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
    record: str = Field(description="record schema, one of contracts.records")
    source: ObjectSource
    target: CheckpointTarget
    drop: list[DropRule] = Field(default_factory=list)
    limits: BatchLimits = BatchLimits()
    queries: dict[str, Query] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fields_exist(self) -> Self:
        if self.record not in RECORDS:
            raise ValueError(f"record {self.record!r} is not a known schema; known: {sorted(RECORDS)}")
        known = set(RECORDS[self.record].model_fields)
        used = [("target.order_by", self.target.order_by)]
        used += [(f"drop.{i}.field", rule.field) for i, rule in enumerate(self.drop)]
        used += [("target.key", name) for name in self.target.fields]
        for where, field in used:
            if field not in known:
                raise ValueError(f"{where}: {self.record} has no field {field!r}; it has {sorted(known)}")
        return self

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
            places = [f"{'.'.join(map(str, d['loc'])) or 'document'}: {d['msg']}" for d in details]
            raise InvalidPipelineError(f"{where}: " + "; ".join(places)) from error
