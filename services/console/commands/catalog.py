"""``tidegate catalog``: what pipelines write as Glue table definitions."""

import asyncio
from typing import Annotated, Any

import typer

from contracts.pipelines import Pipeline
from contracts.targets import BronzeTarget
from services.console.catalog import places, table_of, written_table
from services.console.commands.run import Entities
from services.console.output import emit_json
from services.console.session import Session, open_session


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def catalog(
        pipeline: Annotated[str, typer.Argument(help="pipeline, or group of entities")],
        entities: Entities = None,
        database: Annotated[
            str | None, typer.Option(help="Glue database; default: {stack}_{pipeline or group}")
        ] = None,
    ) -> None:
        """Print Glue tables as JSON: columns as declared, or of entities those of all their recorded schemas."""
        asyncio.run(_catalog(pipeline, entities or [], database))


async def _catalog(name: str, entities: list[str], database: str | None) -> None:
    async with open_session() as session:
        members = session.members(name, entities)
        default = f"{session.settings.stack}_{name.partition('.')[0]}".replace("-", "_")
        tables = [await _table(session, each, database or default) for each in members]
    emit_json({"database": database or default, "tables": [table for table in tables if table is not None]})


async def _table(session: Session, pipeline: Pipeline, database: str) -> dict[str, Any] | None:
    """The table of one output; None of an entity none of whose schemas was recorded, as no load was planned yet."""
    bucket = session.destination(pipeline).bucket
    if not isinstance(pipeline.target, BronzeTarget):
        neighbours = {
            name: places(each) for name, each in session.pipelines.items() if session.destination(each).bucket == bucket
        }
        return written_table(database, pipeline, bucket, neighbours)
    history = await session.entity_schemas.history(pipeline.watermark)
    if not history:
        return None
    location = f"s3://{bucket}/{pipeline.target.prefix}{pipeline.entity}/"
    versions = [recorded.fields for recorded in history]
    return table_of(database, pipeline.entity, location, versions, pipeline.description)
