"""``tidegate query``: named or ad-hoc SQL over a pipeline's output, with DuckDB."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import duckdb
import typer

from contracts.pipelines import Pipeline
from services.console.checkpoint_files import fetch
from services.console.output import as_rows, emit_json, emit_table, say
from services.console.session import open_session
from services.runtime.failures import BadDeclarationError

ALIAS = "checkpoint_events"
SHOWN = 50
"""Rows a table shows; --json gives all."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def query(
        pipeline: Annotated[str, typer.Argument(help="pipeline whose output to ask")],
        name: Annotated[str | None, typer.Argument(help="named query; leave out to list them")] = None,
        sql: Annotated[str | None, typer.Option(help="SQL; the output is the table named after the entity")] = None,
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
        pipeline = session.pipeline(name)
        if query is None and sql is None:
            _list(pipeline)
            return
        text = sql if sql is not None else _named(pipeline, query or "")
        with TemporaryDirectory(prefix="tidegate-") as folder:
            files = await fetch(session, pipeline, Path(folder))
            records = await asyncio.to_thread(ask, files, pipeline.entity, text, parameters)
    if as_json:
        emit_json(records)
        return
    columns, rows = as_rows(records[:SHOWN])
    emit_table(f"{len(records):,} rows", columns, rows)
    if len(records) > SHOWN:
        say(f"… and {len(records) - SHOWN:,} more (--json gives all)")


def _list(pipeline: Pipeline) -> None:
    emit_table(
        f"Queries of {pipeline.name}", ["name", "answers"], [[n, q.description] for n, q in pipeline.queries.items()]
    )


def _named(pipeline: Pipeline, name: str) -> str:
    if name not in pipeline.queries:
        raise BadDeclarationError(f"{pipeline.name} has no query {name!r}; it has {', '.join(pipeline.queries)}")
    return pipeline.queries[name].sql.replace("{table}", pipeline.entity)


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
        try:
            return _answer(database, sql, parameters)
        except duckdb.Error as error:
            raise BadDeclarationError(f"the query failed: {str(error).splitlines()[0]}") from error


def _answer(database: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
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
