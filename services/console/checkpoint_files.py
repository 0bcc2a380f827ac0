"""The objects of a pipeline's output, brought to this machine."""

import asyncio
import re
from pathlib import Path
from string import Formatter

import duckdb

from contracts.pipelines import Pipeline
from contracts.segments import Destination
from contracts.targets import PartitionTarget
from services.console.output import meter
from services.console.session import Session
from services.runtime.aws.tables import each
from services.runtime.failures import BadDeclarationError, CorruptCheckpointError, MissingObjectError

IN_FLIGHT = 8
"""Objects downloaded side by side."""


async def destinations(session: Session, pipeline: Pipeline) -> list[Destination]:
    """Every object of the pipeline's output, by key.

    That is what was ever committed, or the pipeline's own key if nothing was; of a partition tree also the files
    that are there and whose commits are not recorded yet.
    """
    names = {head.checkpoint for head in await session.checkpoints.list(pipeline.name)}
    own = session.destination(pipeline)
    if isinstance(pipeline.target, PartitionTarget):
        listing = session.objects.list(own.bucket, pipeline.target.prefix)
        names |= {f"{own.bucket}/{info.key}" async for info in listing if in_tree(pipeline.target, info.key)}
    if not names and not pipeline.target.fields:
        return [own]
    return [destination_of(name) for name in sorted(names)]


def destination_of(checkpoint: str) -> Destination:
    """Where a checkpoint lies that heads know by this name."""
    bucket, key = checkpoint.split("/", 1)
    return Destination(bucket=bucket, key=key)


def in_tree(target: PartitionTarget, key: str) -> bool:
    """Whether a key is one that the target's template makes; a slash in one comes from the template alone."""
    pattern = ""
    for literal, name, form, _ in Formatter().parse(target.key):
        value = ".+" if "/" in (form or "") else "[^/]+"
        pattern += re.escape(literal) + ("" if name is None else value)
    return key != target.state_mirror and re.fullmatch(pattern, key) is not None


async def fetch(session: Session, pipeline: Pipeline, folder: Path) -> list[Path]:
    """Download every object of the pipeline's output; several, and partition trees, keep their folders.

    Raises:
        MissingObjectError: there is no output yet.
        CorruptCheckpointError: one of them is not the file that was committed, or not Parquet.
    """
    found = await destinations(session, pipeline)
    if not found:
        raise MissingObjectError(f"{pipeline.name} has no output yet; start with: tidegate run {pipeline.name}")
    is_alone = len(found) == 1 and not isinstance(pipeline.target, PartitionTarget)
    targets = {d: folder / Path(d.key).name if is_alone else inside(folder, d) for d in found}
    done = 0
    with meter("downloaded", len(found)) as progress:

        async def download(destination: Destination) -> None:
            nonlocal done
            await _download(session, destination, targets[destination])
            done += 1
            progress.update(done)

        await each(found, download, limit=IN_FLIGHT)
    return list(targets.values())


def inside(folder: Path, destination: Destination) -> Path:
    """The file for a key below a folder; the values in a key are the source's, and could spell a way out of it.

    Raises:
        BadDeclarationError: this one does.
    """
    target = folder / destination.key
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BadDeclarationError(f"{destination.uri} would be written outside of {folder}")
    return target


async def _download(session: Session, destination: Destination, target: Path) -> None:
    head = await session.checkpoints.head(f"{destination.bucket}/{destination.key}")
    try:
        stored = await session.objects.get(destination.bucket, destination.key)
    except MissingObjectError as error:
        if head.version:
            raise CorruptCheckpointError(
                f"{destination.uri} is gone, though version {head.version} was committed"
            ) from error
        raise MissingObjectError(f"{destination.uri} does not exist yet; nothing was merged") from error
    await asyncio.to_thread(write, target, stored.body)
    await asyncio.to_thread(check_readable, target, destination.uri)


def write(target: Path, body: bytes) -> None:
    """Write a file so that nobody sees half of it; its folders are made.

    Raises:
        BadDeclarationError: it cannot be written.
    """
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
