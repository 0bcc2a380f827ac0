"""Glue's way to say what a table is: its columns, where its Parquet lies and by which folders it is partitioned."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.fields import TypeParts
from services.runtime.failures import BadDeclarationError

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
    "point": "struct<latitude:double,longitude:double>",
}
"""Athena has no times of day in Parquet: they are microseconds since midnight there."""


def glue_type(type_: str) -> str:
    """What Glue and Athena call the type of a field or of a column."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return f"array<{glue_type(parts.item)}>"
    return f"decimal({parts.precision},{parts.scale})" if parts.name == "decimal" else GLUE_TYPES[parts.name]


def column(name: str, type_: str, comment: str = "") -> dict[str, str]:
    """A column; Glue keeps names in lower case."""
    return {"Name": name.lower(), "Type": glue_type(type_)} | ({"Comment": comment} if comment else {})


def definition(
    database: str,
    name: str,
    *,
    location: str,
    columns: Sequence[Mapping[str, str]],
    partitions: Sequence[str],
    description: str,
    facts: Mapping[str, str],
) -> dict[str, Any]:
    """A table as Glue takes it.

    ``partitions`` are text, so that every value a folder can have may be registered. ``facts`` become parameters
    ``tidegate.…`` of the table; the Terraform module chooses the table's queries by them.

    Raises:
        BadDeclarationError: two columns differ in their case alone, which Glue cannot tell apart.
    """
    names = [each["Name"] for each in columns]
    if doubled := sorted({each for each in names if names.count(each) > 1}):
        raise BadDeclarationError(f"{name} has two columns that are {doubled[0]!r} in lower case, which Glue refuses")
    return {
        "DatabaseName": database,
        "Name": name,
        "Description": description,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "classification": "parquet",
            "parquet.compression": "SNAPPY",
            "EXTERNAL": "TRUE",
            **{f"tidegate.{fact}": value for fact, value in facts.items()},
        },
        "PartitionKeys": [{"Name": each, "Type": "string"} for each in partitions],
        "StorageDescriptor": {
            "Location": location,
            "Columns": list(columns),
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                "Parameters": {"serialization.format": "1"},
            },
        },
    }
