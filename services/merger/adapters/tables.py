"""Arrow schemas and Parquet bytes of segments and checkpoints."""

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from contracts.records import ColumnType

COMMIT_KEY = b"tidegate-commit"
"""Parquet metadata that makes every commit's bytes, and so its ETag, its own."""

_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp_us": pa.timestamp("us"),
    "timestamp_us_utc": pa.timestamp("us", tz="UTC"),
    "point": pa.struct([("latitude", pa.float64()), ("longitude", pa.float64())]),
}


def schema_of(columns: Mapping[str, ColumnType]) -> pa.Schema:
    """The Arrow schema of an output with these columns."""
    return pa.schema([pa.field(name, _TYPES[kind]) for name, kind in columns.items()])


def sort_stable(table: pa.Table, column: str) -> pa.Table:
    """Rows in order of a column, those without a value last; rows that tie keep their order."""
    if table.num_rows == 0 or _is_sorted(table.column(column).combine_chunks()):
        return table
    return table.take(pc.sort_indices(table, sort_keys=[(column, "ascending")]))


def _is_sorted(values: pa.Array) -> bool:
    """Whether there is nothing to do: rows mostly come in order already, and comparing is cheaper than moving them."""
    return values.null_count == 0 and bool(pc.all(pc.less_equal(values[:-1], values[1:]), min_count=0).as_py())


def to_parquet(table: pa.Table, commit_id: str) -> bytes:
    """One Parquet file, Snappy, stamped with the commit that writes it."""
    sink = io.BytesIO()
    stamped = table.replace_schema_metadata({COMMIT_KEY: commit_id.encode()})
    pq.write_table(stamped, sink, compression="snappy")
    return sink.getvalue()


def greatest(table: pa.Table, column: str) -> str | None:
    """The last value of a sorted table's ordering column, ISO 8601 where it is a time; None if no row has one."""
    values = table.column(column)
    known = table.num_rows - values.null_count
    if known == 0:
        return None
    value: Any = values[known - 1].as_py()
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def keys_of(table: pa.Table, pipeline: Pipeline) -> pa.ChunkedArray | None:
    """The unique key of every row; None where a pipeline's rows have no key of their own."""
    return None if pipeline.row_key is None else table.column(pipeline.row_key)
