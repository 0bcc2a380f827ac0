"""Arrow types of entity fields, and what Parquet does with them."""

from collections.abc import Collection, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import LINEAGE, EntityField, TypeParts

_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "boolean": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "time_us": pa.time64("us"),
    "timestamp_us": pa.timestamp("us"),
    "timestamp_us_utc": pa.timestamp("us", tz="UTC"),
}
LOOKED_AT = 1_024
"""Rows by which it is decided how a column is written."""
INGESTION_TS, SOURCE_SYSTEM, RECORD_HASH, INGESTION_ID = (field.name for field in LINEAGE)


def arrow_type(type_: str) -> pa.DataType:
    """The Arrow type of a field type."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return pa.list_(arrow_type(parts.item))
    return pa.decimal128(parts.precision, parts.scale) if parts.name == "decimal" else _TYPES[parts.name]


def schema_of(fields: Sequence[EntityField]) -> pa.Schema:
    """The Arrow schema of rows with these fields."""
    return pa.schema([pa.field(field.name, arrow_type(field.type)) for field in fields])


def repetitive(rows: pa.Table, key: Collection[str]) -> list[str]:
    """Columns that a dictionary makes smaller, by a look at the first rows; others cost time and gain nothing."""
    looked_at = rows.slice(0, LOOKED_AT)
    few = max(1, looked_at.num_rows // 4)
    kinds = (pa.types.is_floating, pa.types.is_decimal, pa.types.is_nested, pa.types.is_dictionary)
    return [
        name
        for name in rows.column_names
        if pa.types.is_dictionary(rows.schema.field(name).type)
        or (
            name not in key
            and name != RECORD_HASH
            and not any(kind(rows.schema.field(name).type) for kind in kinds)
            and pc.count_distinct(looked_at.column(name)).as_py() <= few
        )
    ]


def measured(fields: Sequence[EntityField], key: Collection[str]) -> list[str]:
    """Columns of which Parquet keeps the extremes, so that readers can leave out row groups."""
    lengthy = ("string", "binary", "list")
    own = [field.name for field in fields if field.name in key or not field.type.startswith(lengthy)]
    return [*own, INGESTION_TS]


def cursor_text(value: datetime | None) -> str | None:
    """A cursor as watermarks have it: UTC, to the microsecond, without its zone."""
    return None if value is None else value.replace(tzinfo=None).isoformat(timespec="microseconds")


def cursor_scalar(text: str, type_: pa.DataType) -> pa.Scalar:
    """A watermark's cursor as a value of a column of this type."""
    zone = "+00:00" if type_.tz else ""
    return pa.scalar(datetime.fromisoformat(text + zone), type_)
