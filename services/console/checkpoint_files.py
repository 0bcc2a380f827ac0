"""The checkpoint objects of a pipeline, brought to this machine."""

import asyncio
from pathlib import Path

import duckdb

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.console.output import meter
from services.console.session import Session
from services.runtime.failures import BadDeclarationError, CorruptCheckpointError, MissingObjectError


async def destinations(session: Session, pipeline: Pipeline) -> list[Destination]:
    """Every checkpoint of the pipeline that was ever committed, by key; its own key if none was."""
    names = [head.checkpoint for head in await session.checkpoints.list(pipeline.name)]
    own = session.destination(pipeline)
    if not names and not pipeline.target.fields:
        return [own]
    return [Destination(bucket=name.split("/", 1)[0], key=name.split("/", 1)[1]) for name in sorted(names)]


async def fetch(session: Session, pipeline: Pipeline, folder: Path) -> list[Path]:
    """Download every checkpoint object of the pipeline.

    Raises:
        MissingObjectError: there is no checkpoint yet.
        CorruptCheckpointError: one of them is not the file that was committed, or not Parquet.
    """
    found = await destinations(session, pipeline)
    if not found:
        raise MissingObjectError(f"{pipeline.name} has no checkpoint yet; start with: tidegate run {pipeline.name}")
    files = []
    with meter("downloaded", len(found)) as progress:
        for index, destination in enumerate(found):
            key = Path(destination.key)
            target = folder / (key.name if len(found) == 1 else key)
            files.append(await _download(session, destination, target))
            progress.update(index + 1)
    return files


async def _download(session: Session, destination: Destination, target: Path) -> Path:
    head = await session.checkpoints.head(f"{destination.bucket}/{destination.key}")
    try:
        stored = await session.objects.get(destination.bucket, destination.key)
    except MissingObjectError as error:
        if head.version:
            raise CorruptCheckpointError(f"{destination.uri} is gone, though {head.version} was committed") from error
        raise MissingObjectError(f"{destination.uri} does not exist yet; nothing was merged") from error
    await asyncio.to_thread(_write, target, stored.body)
    await asyncio.to_thread(check_readable, target, destination.uri)
    return target


def _write(target: Path, body: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        part.write_bytes(body)
        part.replace(target)
    except OSError as error:
        raise BadDeclarationError(f"cannot write {target}: {error}") from error


def check_readable(file: Path, uri: str) -> None:
    """Refuse a file that is not Parquet before anybody builds on it.

    Raises:
        CorruptCheckpointError: it is not.
    """
    try:
        with duckdb.connect() as database:
            database.execute("SELECT count(*) FROM read_parquet(?)", [str(file)]).fetchone()
    except duckdb.Error as error:
        file.unlink()
        reason = str(error).splitlines()[0].replace(str(file), uri)
        raise CorruptCheckpointError(
            f"{uri} cannot be read: {reason}; `tidegate checkpoint restore` brings a committed version back"
        ) from error
