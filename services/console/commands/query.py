"""``tidegate query``: named or ad-hoc SQL over a pipeline's output, with DuckDB."""

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import duckdb
import typer

from contracts.fields import LINEAGE, TypeParts
from contracts.pipelines import Pipeline, Query
from services.console.bronze_files import EntityFiles, fetch_entity
from services.console.checkpoint_files import fetch
from services.console.output import as_rows, emit_json, emit_table, say
from services.console.session import open_session
from services.runtime.failures import BadDeclarationError

ALIAS = "checkpoint_events"
PARTITIONS = ("ingestion_date", "load_type", "event_date")
"""Columns that the folders of an entity's parts add."""
DUCKDB_TYPES = {
    "string": "VARCHAR",
    "binary": "BLOB",
    "boolean": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "date": "DATE",
    "time_us": "TIME",
    "timestamp_us": "TIMESTAMP",
    "timestamp_us_utc": "TIMESTAMPTZ",
}
SHOWN = 50
"""Rows a table shows; --json gives all."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def query(
        pipeline: Annotated[str, typer.Argument(help="pipeline, or group of entities, whose output to ask")],
        name: Annotated[str | None, typer.Argument(help="named query; leave out to list them")] = None,
        sql: Annotated[str | None, typer.Option(help="SQL; each entity is a table of its name")] = None,
        param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for a named query")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result, all rows")] = False,
    ) -> None:
        """Ask the output a question."""
        asyncio.run(_query(pipeline, name, sql, _parameters(param or []), as_json=as_json))


def _parameters(texts: Sequence[str]) -> dict[str, str]:
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise BadDeclarationError(f"--param wants NAME=VALUE, not {wrong[0]!r}")
    return dict(text.split("=", 1) for text in texts)


async def _query(
    name: str, query: str | None, sql: str | None, parameters: Mapping[str, str], *, as_json: bool
) -> None:
    async with open_session() as session:
        pipeline, *_ = members = session.members(name)
        queries = session.groups[name].queries if name in session.groups else pipeline.queries
        if query is None and sql is None:
            emit_table(f"Queries of {name}", ["name", "answers"], [[n, q.description] for n, q in queries.items()])
            return
        text = sql if sql is not None else _named(name, queries, query or "").replace("{table}", pipeline.entity)
        with TemporaryDirectory(prefix="tidegate-") as folder:
            if pipeline.is_landed:
                wanted = mentioned(text, members)
                entities = [await fetch_entity(session, each, Path(folder)) for each in wanted]
                records = await asyncio.to_thread(ask_entities, entities, text, parameters)
            else:
                files = await fetch(session, pipeline, Path(folder))
                records = await asyncio.to_thread(ask, files, pipeline.entity, text, parameters)
    if as_json:
        emit_json(as_json_values(records))
        return
    columns, rows = as_rows(records[:SHOWN])
    emit_table(f"{len(records):,} rows", columns, rows)
    if len(records) > SHOWN:
        say(f"… and {len(records) - SHOWN:,} more (--json gives all)")


def as_json_values(value: Any) -> Any:
    """Values that JSON has; what it has not is text: NaN, infinities, and bytes as PostgreSQL writes them."""
    if isinstance(value, dict):
        return {name: as_json_values(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_json_values(each) for each in value]
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _named(owner: str, queries: Mapping[str, Query], name: str) -> str:
    if name not in queries:
        known = f"it has {', '.join(queries)}" if queries else "it has none"
        raise BadDeclarationError(f"{owner} has no query {name!r}; {known}")
    return queries[name].sql


def mentioned(sql: str, members: Sequence[Pipeline]) -> list[Pipeline]:
    """The entities whose names are in a query: nothing else is downloaded."""
    return [each for each in members if re.search(rf"\b{re.escape(each.entity)}\b", sql, re.IGNORECASE)]


def ask(files: Sequence[Path], table: str, sql: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run SQL over Parquet files that appear as ``table`` (and as checkpoint_events); times with a zone are UTC.

    Files may differ in their columns: what one lacks is NULL in its rows. Folders such as ``year=2025`` add none, so
    that the table has the declared columns and no others. Parameters the text uses and nobody gave are NULL. Of several
    statements the last one answers.

    Raises:
        BadDeclarationError: DuckDB refuses the SQL.
    """
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        source = database.read_parquet([str(file) for file in files], hive_partitioning=False, union_by_name=True)
        for alias in {table, ALIAS}:
            source.create_view(alias)
        return _answer(database, sql, parameters)


def ask_entities(entities: Sequence[EntityFiles], sql: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run SQL over entities that appear as views of their names; times with a zone are UTC.

    Each has the columns of its source and of its lineage, and ingestion_date, load_type and event_date as text, unless
    its source has a column of such a name itself. What a part lacks is NULL in its rows.

    Raises:
        BadDeclarationError: DuckDB refuses the SQL.
    """
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for entity in entities:
            _create_view(database, entity)
        return _answer(database, sql, parameters)


def _create_view(database: duckdb.DuckDBPyConnection, entity: EntityFiles) -> None:
    name = entity.pipeline.entity
    own = {field.name.lower() for load in entity.loads for field in load.manifest.fields}
    added = () if own & set(PARTITIONS) else PARTITIONS
    if entity.files:
        files = ", ".join("'" + str(file).replace("'", "''") + "'" for file in entity.files)
        options = f"hive_partitioning = {bool(added)}, hive_types_autocast = false, union_by_name = true"
        database.execute(f"CREATE VIEW {_quoted(name)} AS SELECT * FROM read_parquet([{files}], {options})")  # noqa: S608 - quoted
        return
    fields = [(field.name, duckdb_type(field.type)) for field in (*entity.manifest.fields, *LINEAGE)]
    columns = ", ".join(f"{_quoted(column)} {type_}" for column, type_ in [*fields, *((p, "VARCHAR") for p in added)])
    database.execute(f"CREATE TABLE {_quoted(name)} ({columns})")


def duckdb_type(type_: str) -> str:
    """DuckDB's name for a field type."""
    parts = TypeParts.of(type_)
    if parts.item is not None:
        return f"{duckdb_type(parts.item)}[]"
    return f"DECIMAL({parts.precision},{parts.scale})" if parts.name == "decimal" else DUCKDB_TYPES[parts.name]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _answer(database: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    try:
        return _asked(database, sql, parameters)
    except duckdb.Error as error:
        raise BadDeclarationError(f"the query failed: {str(error).splitlines()[0]}") from error


def _asked(database: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    statements = database.extract_statements(sql)
    names = {name for statement in statements for name in statement.named_parameters}
    unknown = parameters.keys() - names
    if unknown:
        raise BadDeclarationError(f"the query has no parameter {min(unknown)!r}; it has {sorted(names)}")
    records: list[dict[str, Any]] = []
    for statement in statements:
        given = {name: parameters.get(name) for name in statement.named_parameters}
        answer = database.sql(statement, params=given or None)
        records = [] if answer is None else list(answer.to_arrow_table().to_pylist())
    return records
