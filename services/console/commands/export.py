"""``tidegate export``: download a pipeline's output."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from services.console.bronze_files import fetch_entity
from services.console.checkpoint_files import fetch
from services.console.output import emit_json, say
from services.console.session import open_session


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(
        pipeline: Annotated[str, typer.Argument(help="pipeline, or group of entities, whose output to download")],
        places: Annotated[
            list[str], typer.Argument(metavar="[ENTITY]... DEST", help="of a group: only these; a folder")
        ],
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Download the output: a checkpoint object, a partition tree, or the bronze parts of entities.

        Of an entity that is its last full load and the increments after it.
        """
        *entities, destination = places
        asyncio.run(_export(pipeline, entities, Path(destination), as_json=as_json))


async def _export(name: str, entities: Sequence[str], folder: Path, *, as_json: bool) -> None:
    async with open_session() as session:
        files: list[Path] = []
        for pipeline in session.members(name, entities):
            if pipeline.is_landed:
                files += (await fetch_entity(session, pipeline, folder)).files
            else:
                files += await fetch(session, pipeline, folder)
    if as_json:
        emit_json({"files": [str(file) for file in files]})
        return
    for file in files:
        say(f"{file} ({file.stat().st_size:,} bytes)")
