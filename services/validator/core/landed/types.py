"""Field types as types of columns, and the event date of rows."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl

from contracts.fields import EntityField, TypeParts
from services.runtime.failures import MalformedError

UTC_US = pl.Datetime("us", "UTC")

_DTYPES: Mapping[str, pl.DataType] = MappingProxyType(
    {
        "string": pl.String(),
        "binary": pl.Binary(),
        "boolean": pl.Boolean(),
        "int16": pl.Int16(),
        "int32": pl.Int32(),
        "int64": pl.Int64(),
        "float32": pl.Float32(),
        "float64": pl.Float64(),
        "date": pl.Date(),
        "time_us": pl.Time(),
        "timestamp_us": pl.Datetime("us"),
        "timestamp_us_utc": UTC_US,
    }
)
_DATED = frozenset({"date", "timestamp_us", "timestamp_us_utc"})


def dtype_of(type_: str) -> pl.DataType:
    """The column type that a field type is read as."""
    parts = TypeParts.of(type_)
    if parts.name == "decimal":
        return pl.Decimal(parts.precision, parts.scale)
    if parts.item is not None:
        return pl.List(dtype_of(parts.item))
    return _DTYPES[parts.name]


def schema_of(fields: Sequence[EntityField]) -> dict[str, pl.DataType]:
    """Names and column types of fields, in order."""
    return {field.name: dtype_of(field.type) for field in fields}


def event_date_of(name: str | None, fields: Sequence[EntityField]) -> str | None:
    """The field that holds the event date of rows with these fields; None where all of them are undated.

    Args:
        name: the field that the entity declares for it; a load of keys does not carry it.
        fields: what the rows have.

    Raises:
        MalformedError: the field is of a type that says no date.
    """
    types = {field.name: field.type for field in fields}
    if name is None or name not in types:
        return None
    if types[name] not in _DATED:
        raise MalformedError(f"{name} says no event date: it is a {types[name]}")
    return name


def dates_of(rows: pl.DataFrame, field: str | None) -> pl.Series:
    """The event date of each row, that of a timestamp in UTC; null where it has none."""
    return pl.repeat(None, rows.height, dtype=pl.Date, eager=True) if field is None else rows[field].cast(pl.Date)
