"""Column types of the Parquet files we write, named without any engine, so that each service maps them to its own."""

from typing import Literal

ColumnType = Literal["string", "int32", "date", "timestamp_us_utc"]
