"""What readers see of a file that was appended to."""

import io
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datafusion import SessionConfig, SessionContext, col, lit

from services.merger.adapters.append.footer import groups_of
from services.merger.adapters.append.layout import LAYOUT_KEY, Layout
from services.merger.adapters.tables import COMMIT_KEY


def check_file(body: bytes, expected: pa.Table, layout: Layout) -> None:
    """One plain Parquet file with these rows in this order, of which every beginning up to a group is a file, too."""
    file = pq.ParquetFile(io.BytesIO(body))
    assert file.schema_arrow.remove_metadata().equals(layout.schema)
    assert file.read().equals(expected), "it holds other rows than the naive merge, or in another order"
    stamps = file.metadata.metadata
    assert stamps[COMMIT_KEY]
    if LAYOUT_KEY not in stamps:
        return
    groups = groups_of(file.metadata, layout)
    start = 0
    for number, group in enumerate(groups):
        _check_group(file.metadata.row_group(number), expected.slice(start, group.rows), layout)
        start += group.rows
        end = groups[number + 1].start if number + 1 < len(groups) else len(body)
        part = pq.ParquetFile(io.BytesIO(body[:end])).metadata
        assert (part.num_rows, part.num_row_groups) == (start, number + 1), "a beginning is no file of its own"
    assert start == expected.num_rows == file.metadata.num_rows


def _check_group(group: pq.RowGroupMetaData, rows: pa.Table, layout: Layout) -> None:
    assert group.num_rows == rows.num_rows > 0
    assert [column.column_index for column in group.sorting_columns] == [layout.schema.names.index(layout.order_by)]
    for leaf in range(group.num_columns):
        column = group.column(leaf)
        values = rows.column(column.path_in_schema)
        ends = pc.min_max(values).as_py()
        found = column.statistics
        assert found.null_count == values.null_count
        if ends["min"] is not None:
            assert (found.min, found.max) == (ends["min"], ends["max"])
        assert column.has_column_index, "readers cannot skip its pages"
        assert column.has_offset_index, "readers cannot skip its pages"
        if pa.types.is_timestamp(values.type):
            assert "DELTA_BINARY_PACKED" in column.encodings
            assert not column.has_dictionary_page


def check_other_readers(body: bytes, expected: pa.Table, order_by: str, scratch: Path) -> None:
    """Readers that are not ours find the same rows, also where they skip groups and pages by what the file says."""
    path = scratch / "checkpoint.parquet"
    path.write_bytes(body)
    wanted = expected.to_pylist()
    assert pl.read_parquet(path).to_dicts() == wanted
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.read_parquet(str(path)).to_arrow_table()
        assert found.cast(expected.schema).to_pylist() == wanted
        if not wanted:
            return
        middle = wanted[len(wanted) // 2][order_by]
        later = [row for row in wanted if row[order_by] >= middle]
        is_later = duckdb.ColumnExpression(order_by) >= duckdb.ConstantExpression(middle)
        assert connection.read_parquet(str(path)).filter(is_later).count("*").fetchall() == [(len(later),)]
    assert pl.scan_parquet(path).filter(pl.col(order_by) >= middle).collect().to_dicts() == later
    selected = pq.read_table(path, filters=[(order_by, ">=", middle)])
    assert selected.to_pylist() == later
    # One partition keeps the file's order; rows are also filtered while pages are read, which goes by the page index.
    settings = {"datafusion.execution.parquet.pushdown_filters": "true", "datafusion.execution.time_zone": "UTC"}
    context = SessionContext(SessionConfig(settings).with_target_partitions(1))
    frame = context.read_parquet(path)
    assert frame.to_arrow_table().cast(expected.schema).to_pylist() == wanted
    found = frame.filter(col(f'"{order_by}"') >= lit(pa.scalar(middle, expected.schema.field(order_by).type)))
    assert found.to_arrow_table().cast(expected.schema).to_pylist() == later
