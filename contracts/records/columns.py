"""Column types of the Parquet files we write, named without any engine, so that each service maps them to its own."""

from typing import Literal

ColumnType = Literal[
    "string", "int32", "int64", "float64", "boolean", "date", "timestamp_us", "timestamp_us_utc", "point"
]
"""``timestamp_us`` is floating: a local time without a zone, kept as given. A ``point`` is {latitude, longitude}."""
