"""Tables of bronze entities, out of the schemas that their loads recorded."""

from collections.abc import Sequence
from typing import Any

from contracts.fields import LINEAGE, EntityField, TypeParts
from services.console.catalog.glue import column, definition

PARTITION_KEYS = ("ingestion_date", "load_type", "event_date")
"""As the folders have them; text, so that ``__HIVE_DEFAULT_PARTITION__`` and every day alike can be registered."""

_INTEGERS = {"int16": 5, "int32": 10, "int64": 19}
_FLOATS = ("float32", "float64")
_MOST_DIGITS = 38


def table_of(
    database: str, name: str, location: str, versions: Sequence[Sequence[EntityField]], description: str = ""
) -> dict[str, Any]:
    """The definition of one table; ``versions`` are the entity's fields as of each recorded schema, oldest first.

    Columns stand in the order in which they were first seen, each with the widest type that it ever had, so that parts
    of every version can be read; a column that the source has dropped stays, and is null in newer parts.

    Raises:
        BadDeclarationError: two columns differ in their case alone.
    """
    fields = (*merged(versions), *LINEAGE)
    columns = [column(field.name, field.type, field.source_type) for field in fields]
    own = {each["Name"] for each in columns}
    return definition(
        database,
        name,
        location=location,
        columns=columns,
        partitions=[key for key in PARTITION_KEYS if key not in own],
        description=description,
        facts={"target": "bronze"},
    )


def merged(versions: Sequence[Sequence[EntityField]]) -> list[EntityField]:
    """All columns that an entity ever had."""
    found: dict[str, EntityField] = {}
    for version in versions:
        for field in version:
            before = found.get(field.name)
            type_ = field.type if before is None else widest(before.type, field.type)
            found[field.name] = field.model_copy(update={"type": type_})
    return list(found.values())


def widest(before: str, now: str) -> str:
    """The type that holds the values of both; ``now`` where there is none, as then a full load has begun anew."""
    old, new = TypeParts.of(before), TypeParts.of(now)
    if old.item is not None and new.item is not None:
        return f"list<{widest(old.item, new.item)}>"
    for order in (tuple(_INTEGERS), _FLOATS):
        if old.name in order and new.name in order:
            return max(before, now, key=order.index)
    digits = [_digits(each) for each in (old, new)]
    if digits[0] is None or digits[1] is None or "decimal" not in {old.name, new.name}:
        return now
    scale = max(digits[0][1], digits[1][1])
    precision = max(digits[0][0], digits[1][0]) + scale
    return now if precision > _MOST_DIGITS else f"decimal({precision},{scale})"


def _digits(parts: TypeParts) -> tuple[int, int] | None:
    """Digits before and behind the point; None of what is no exact number."""
    if parts.name == "decimal":
        return parts.precision - parts.scale, parts.scale
    return (_INTEGERS[parts.name], 0) if parts.name in _INTEGERS else None
