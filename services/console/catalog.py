"""Bronze entities as tables of the Glue Data Catalog, for Athena. Pure: from recorded schemas alone."""

from collections.abc import Sequence
from typing import Any

from contracts.fields import LINEAGE, EntityField, TypeParts

PARTITION_KEYS = ("ingestion_date", "load_type", "event_date")
"""As the folders have them; text, so that ``__HIVE_DEFAULT_PARTITION__`` and every day alike can be registered."""

GLUE_TYPES = {
    "string": "string",
    "binary": "binary",
    "boolean": "boolean",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float32": "float",
    "float64": "double",
    "date": "date",
    "time_us": "bigint",
    "timestamp_us": "timestamp",
    "timestamp_us_utc": "timestamp",
}
"""Athena has no times of day in Parquet: they are microseconds since midnight there."""

_INTEGERS = {"int16": 5, "int32": 10, "int64": 19}
_FLOATS = ("float32", "float64")
_MOST_DIGITS = 38


def table_of(
    database: str, name: str, location: str, versions: Sequence[Sequence[EntityField]], description: str = ""
) -> dict[str, Any]:
    """The definition of one table; ``versions`` are the entity's fields as of each recorded schema, oldest first.

    Columns stand in the order in which they were first seen, each with the widest type that it ever had, so that parts
    of every version can be read; a column that the source has dropped stays, and is null in newer parts.
    """
    fields = merged(versions)
    columns = [_column(field) for field in (*fields, *LINEAGE)]
    own = {column["Name"] for column in columns}
    return {
        "DatabaseName": database,
        "Name": name,
        "Description": description,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "parquet.compression": "SNAPPY", "EXTERNAL": "TRUE"},
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in PARTITION_KEYS if key not in own],
        "StorageDescriptor": {
            "Location": location,
            "Columns": columns,
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        },
    }


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


def glue_type(type_: str) -> str:
    """What Glue and Athena call a field type."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return f"array<{glue_type(parts.item)}>"
    return f"decimal({parts.precision},{parts.scale})" if parts.name == "decimal" else GLUE_TYPES[parts.name]


def _digits(parts: TypeParts) -> tuple[int, int] | None:
    """Digits before and behind the point; None of what is no exact number."""
    if parts.name == "decimal":
        return parts.precision - parts.scale, parts.scale
    return (_INTEGERS[parts.name], 0) if parts.name in _INTEGERS else None


def _column(field: EntityField) -> dict[str, str]:
    """A column; Glue keeps names in lower case."""
    column = {"Name": field.name.lower(), "Type": glue_type(field.type)}
    return column | ({"Comment": field.source_type} if field.source_type else {})
