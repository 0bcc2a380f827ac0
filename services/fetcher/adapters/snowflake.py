"""Rows of Snowflake tables: Arrow tables as the driver hands them over, cast to the command's fields without loss."""

from collections.abc import AsyncIterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from contracts.fields import EntityField
from contracts.loads import FetchSlice
from contracts.pipelines import Pipeline
from contracts.sources import SnowflakeSource
from services.fetcher.core.landing import schema_of
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.secrets import Secrets
from services.runtime.snowflake.session import open_session
from services.runtime.snowflake.sql import rows_of, selected, table_of

BATCH_ROWS = 65_536
_MISFITS = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


class SnowflakeRows:
    """``TypedRows`` of Snowflake: one statement a slice, so its rows are of one moment."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def read(self, pipeline: Pipeline, command: FetchSlice) -> AsyncIterator[pa.RecordBatch]:
        """See the port."""
        source = pipeline.source
        if not isinstance(source, SnowflakeSource):
            raise BadDeclarationError(f"pipeline {pipeline.name} is no table of Snowflake")
        if (name := unset_variable(source.secret)) is not None:
            raise BadDeclarationError(f"{pipeline.name}: source.secret stands for {name}, which is not set")
        rows = rows_of(source, command.fields, command.slice)
        columns = ", ".join(selected(field) for field in command.fields)
        query = f"SELECT {columns} FROM {table_of(source)} WHERE {rows.sql}"  # noqa: S608 - names are quoted
        async with open_session(self._secrets, source.secret) as session:
            async for table in session.tables(query, rows.values):
                for batch in _fitted(table, command.fields, source.key).to_batches(max_chunksize=BATCH_ROWS):
                    yield batch


def _fitted(table: pa.Table, fields: Sequence[EntityField], key: Sequence[str]) -> pa.Table:
    schema = schema_of(fields)
    columns = []
    for place, field in enumerate(schema):
        column = table.column(place)
        try:
            columns.append(_cast(column, field.type))
        except _MISFITS as error:
            row = _first_misfit(column, field.type)
            at = {name: str(table.column(schema.get_field_index(name))[row].as_py()) for name in key}
            what = f"column {field.name!r}: {column[row].as_py()!s} is no {fields[place].type}"
            raise PermanentError(f"{what}, in the row with the key {at}: {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """Every value as it is, or an error.

    Raises:
        pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError: a value does not fit.
    """
    if pa.types.is_decimal(type_) and pa.types.is_floating(column.type):
        raise pa.ArrowInvalid("it came as a float, which is not exact")
    return pc.cast(column, type_, safe=True)


def _first_misfit(column: pa.ChunkedArray, type_: pa.DataType) -> int:
    """Number of the first row that cannot be cast; there is one."""
    start, rows = 0, len(column)
    while rows > 1:
        half = rows // 2
        try:
            _cast(column.slice(start, half), type_)
        except _MISFITS:
            rows = half
        else:
            start, rows = start + half, rows - half
    return start
