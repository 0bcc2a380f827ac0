"""``tidegate export``: download a pipeline's output."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.console.checkpoint_files import fetch
from services.console.output import emit_json, say
from services.console.session import open_session


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def export(
        pipeline: Annotated[str, typer.Argument(help="pipeline whose output to download")],
        destination: Annotated[Path, typer.Argument(help="folder to write to")],
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Download the checkpoint object, one file a checkpoint key, or the whole partition tree with its folders."""
        asyncio.run(_export(pipeline, destination, as_json=as_json))


async def _export(name: str, folder: Path, *, as_json: bool) -> None:
    async with open_session() as session:
        files = await fetch(session, session.pipeline(name), folder)
    if as_json:
        emit_json({"files": [str(file) for file in files]})
        return
    for file in files:
        say(f"{file} ({file.stat().st_size:,} bytes)")
