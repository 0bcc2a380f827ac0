"""What makes a file one that can be appended to: its mark, the ordering column, and how groups are written.

::

    PAR1 · group 0 · footer of 0 · group 1 · footer of 0 and 1 · … · group n · footer of all

Every footer ends a complete Parquet file, so the bytes up to any group are one. Readers see the last footer alone; the
others are dead bytes to them.
"""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.pipelines import Pipeline
from services.merger.adapters.tables import COMMIT_KEY, greatest, schema_of
from services.merger.core.append import TARGET_ROWS

LAYOUT_KEY = b"tidegate-layout"
"""Parquet metadata by which a file says that it is laid out like this; other writers do not carry it on."""
VERSION = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How the files of one pipeline are laid out."""

    schema: pa.Schema
    order_by: str
    target: int = TARGET_ROWS
    row_key: str | None = None
    """Column that identifies a row, where one does."""

    @classmethod
    def of(cls, pipeline: Pipeline, target: int = TARGET_ROWS) -> "Layout":
        """That of a pipeline's checkpoints."""
        return cls(schema_of(pipeline.output_columns), pipeline.target.order_by, target, pipeline.row_key)

    @property
    def is_ordered_by_integers(self) -> bool:
        """Whether the ordering column's statistics are exact and compare like its values."""
        kind = self.schema.field(self.order_by).type
        return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind) or pa.types.is_integer(kind))

    @property
    def mark(self) -> bytes:
        """What files of this layout say."""
        return json.dumps({"version": VERSION, "target": self.target, "order_by": self.order_by}).encode()

    def stamps(self, commit_id: str) -> dict[bytes, bytes]:
        """Parquet metadata of a file that a commit writes."""
        return {COMMIT_KEY: commit_id.encode(), LAYOUT_KEY: self.mark}

    def order(self, table: pa.Table) -> pa.ChunkedArray:
        """The ordering column as the integers that statistics have."""
        column = table.column(self.order_by)
        return column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64()).cast(pa.int64())

    def least(self, table: pa.Table) -> int | None:
        """Least of the ordering column; None where there are no rows."""
        least: int | None = pc.min(self.order(table)).as_py()
        return least

    def cursor(self, greatest_before: int | None, table: pa.Table) -> str | None:
        """Greatest value of the ordering column of these rows and of others, of which it is given."""
        ends = [end for end in (greatest_before, pc.max(self.order(table)).as_py()) if end is not None]
        last = self.schema.field(self.order_by)
        values = pa.array([max(ends)] if ends else [], pa.int64())
        if pa.types.is_date32(last.type):
            values = values.cast(pa.int32())
        return greatest(pa.table([values.cast(last.type)], [last.name]), last.name)

    def has_gaps(self, table: pa.Table) -> bool:
        """Whether rows have no place in the order."""
        return bool(table.column(self.order_by).null_count)

    def writer(self, sink: "pa.NativeFile", collected: list[pq.FileMetaData]) -> pq.ParquetWriter:
        """A writer of groups; ``collected`` gets its footer. Timestamps in order are differences, a few bits each."""
        times = [field.name for field in self.schema if pa.types.is_timestamp(field.type)]
        others = [path for field in self.schema if field.name not in times for path in _leaves(field)]
        return pq.ParquetWriter(
            sink,
            self.schema,
            compression="snappy",
            use_dictionary=others or False,
            column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED") or None,
            write_page_index=True,
            sorting_columns=pq.SortingColumn.from_ordering(self.schema, [(self.order_by, "ascending")]),
            metadata_collector=collected,
        )


def _leaves(field: pa.Field) -> list[str]:
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{leaf}" for child in field.type for leaf in _leaves(child)]
    return [field.name]
