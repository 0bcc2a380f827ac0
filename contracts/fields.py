"""Typed fields of an entity: what a source says its columns are, named without any engine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field

from contracts.envelope import Contract

_PLAIN = (
    r"string|binary|boolean|int16|int32|int64|float32|float64|date|time_us|timestamp_us|timestamp_us_utc"
    r"|decimal\((?:[1-9]|[12][0-9]|3[0-8]),(?:[0-9]|[12][0-9]|3[0-8])\)"
)
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_LIST = re.compile(r"list<(.+)>")

FieldType = Annotated[str, Field(pattern=rf"^(?:{_PLAIN}|list<(?:{_PLAIN})>)$")]
"""``decimal(p,s)`` and ``list<T>`` have parameters; the others are as in ``ColumnType``. What has no type of its own
here (json, uuid, enum, interval, inet …) is a string in the source's own text form."""


@dataclass(frozen=True, slots=True)
class TypeParts:
    """A field type taken apart: ``decimal(12,2)`` is ("decimal", 12, 2), ``list<date>`` is ("list", item="date")."""

    name: str
    precision: int = 0
    scale: int = 0
    item: str | None = None

    @classmethod
    def of(cls, type_: str) -> Self:
        """Take a valid field type apart."""
        if found := _DECIMAL.fullmatch(type_):
            return cls("decimal", int(found[1]), int(found[2]))
        if found := _LIST.fullmatch(type_):
            return cls("list", item=found[1])
        return cls(type_)


class EntityField(Contract):
    """One column of an entity, as it was when a load was planned."""

    name: str = Field(min_length=1)
    type: FieldType
    source_type: str = Field(default="", description="as the source calls it: numeric(12,2)")


LINEAGE: Sequence[EntityField] = (
    EntityField(name="_ingestion_ts", type="timestamp_us_utc"),
    EntityField(name="_source_system", type="string"),
    EntityField(name="_record_hash", type="string"),
    EntityField(name="_ingestion_id", type="string"),
)
"""What every bronze row has besides its source's fields."""
