"""``tidegate put``: upload event files to a pipeline's source."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.console.output import emit_json, meter, say
from services.console.session import Session, open_session
from services.runtime.failures import BadDeclarationError

IN_FLIGHT = 32


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def put(
        pipeline: Annotated[str, typer.Argument(help="pipeline whose source receives the files")],
        paths: Annotated[list[Path], typer.Argument(help="folders (read recursively) or files", exists=True)],
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
    ) -> None:
        """Upload files to the source bucket; putting a file again makes a new version, a new occurrence."""
        asyncio.run(_put(pipeline, paths, as_json=as_json))


async def _put(name: str, paths: list[Path], *, as_json: bool) -> None:
    files = [found for path in paths for found in collect(path)]
    if not files:
        raise BadDeclarationError(f"no files in {', '.join(map(str, paths))}")
    async with open_session() as session:
        pipeline = session.pipeline(name)
        bucket, prefix = session.source_bucket(pipeline), pipeline.source.prefix
        await upload(session, bucket, [(prefix + key, path) for key, path in files])
    if as_json:
        emit_json({"files": len(files), "bucket": bucket, "prefix": prefix})
    else:
        say(f"{len(files)} files put to s3://{bucket}/{prefix}")


def collect(path: Path) -> list[tuple[str, Path]]:
    """Files to upload as (key below the prefix, path), in order."""
    if path.is_file():
        return [(path.name, path)]
    return [(found.relative_to(path).as_posix(), found) for found in sorted(path.rglob("*")) if found.is_file()]


async def upload(session: Session, bucket: str, files: list[tuple[str, Path]]) -> None:
    """Put files side by side, with progress.

    Raises:
        MissingObjectError: there is no such bucket.
    """
    gate = asyncio.Semaphore(IN_FLIGHT)
    done = 0
    with meter("files put", len(files)) as progress:

        async def one(key: str, path: Path) -> None:
            nonlocal done
            async with gate:
                await session.objects.put(bucket, key, await asyncio.to_thread(path.read_bytes))
            done += 1
            progress.update(done)

        async with asyncio.TaskGroup() as group:
            for key, path in files:
                group.create_task(one(key, path))
