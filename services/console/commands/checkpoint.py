"""``tidegate checkpoint``: earlier versions, and undo."""

import asyncio
from dataclasses import asdict
from typing import Annotated
from uuid import uuid4

import typer

from contracts.checkpoints import RestoreCheckpoint
from contracts.pipelines import Pipeline
from contracts.segments import Destination, scope_of
from contracts.targets import PartitionTarget
from services.console.checkpoint_files import destination_of
from services.console.output import emit_json, emit_table, meter, say
from services.console.session import Session, open_session
from services.runtime.checkpoints import Commit
from services.runtime.failures import BadDeclarationError, TemporaryError

app = typer.Typer(name="checkpoint", help="Earlier versions of a checkpoint, and undo.", no_args_is_help=True)
MERGE_QUEUE = "merge-segments"
POLL_S = 0.25
Key = Annotated[str | None, typer.Option(help="checkpoint key, where a pipeline has several")]


@app.command()
def versions(
    pipeline: str,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable result")] = False,
) -> None:
    """Every commit, newest first; of a pipeline with several objects the objects, unless one is named by its key."""
    asyncio.run(_versions(pipeline, key, as_json=as_json))


@app.command()
def restore(
    pipeline: str,
    version: Annotated[int, typer.Argument(help="version to make current again; 0 is empty", min=0)],
    key: Key = None,
    discard: Annotated[bool, typer.Option("--discard", help="keep the undone rows out for good")] = False,
    timeout: Annotated[float, typer.Option(help="seconds to wait for the merger")] = 120.0,
) -> None:
    """Undo: put an earlier version in place, as a new commit.

    The rows of undone versions become eligible again: the next run merges them anew, unless --discard is given.
    """
    asyncio.run(_restore(pipeline, version, key, discard=discard, timeout_s=timeout))


async def _versions(name: str, key: str | None, *, as_json: bool) -> None:
    async with open_session() as session:
        pipeline = _with_checkpoints(session, name)
        if key is None and pipeline.target.fields:
            await _list(session, pipeline, as_json=as_json)
            return
        destination = session.destination(pipeline, key)
        commits = await session.checkpoints.history(f"{destination.bucket}/{destination.key}")
    if as_json:
        emit_json([asdict(commit) for commit in commits])
        return
    if not commits:
        say(f"{destination.uri} has no commits yet")
        return
    rows = [[c.version, c.kind, c.new_rows, c.total_rows, c.max_cursor, c.committed_at[:19]] for c in commits]
    emit_table(f"Versions of {destination.uri}", ["version", "kind", "new rows", "total rows", "up to", "at"], rows)


def _with_checkpoints(session: Session, name: str) -> Pipeline:
    pipeline = session.pipeline(name)
    if pipeline.is_landed:
        raise BadDeclarationError(f"{name} has loads in bronze and no checkpoints; a full load begins it anew")
    return pipeline


async def _list(session: Session, pipeline: Pipeline, *, as_json: bool) -> None:
    """Every object of a pipeline whose key is a template, by its head."""
    heads = [head for head in await session.checkpoints.list(pipeline.name) if head.version]
    if as_json:
        emit_json([asdict(head) for head in heads])
        return
    if not heads:
        say(f"{pipeline.name} has no commits yet")
        return
    rows = [[destination_of(h.checkpoint).key, h.version, h.total_rows, h.max_cursor] for h in heads]
    emit_table(f"{len(heads):,} objects of {pipeline.name}", ["key", "version", "total rows", "up to"], rows)
    say(f"versions of one: tidegate checkpoint versions {pipeline.name} --key KEY")


async def _restore(name: str, version: int, key: str | None, *, discard: bool, timeout_s: float) -> None:
    async with open_session() as session:
        pipeline = _with_checkpoints(session, name)
        if key is None and pipeline.target.fields:
            raise BadDeclarationError(
                f"{name} has several objects: give --key; `tidegate checkpoint versions {name}` lists them"
            )
        is_table = isinstance(pipeline.target, PartitionTarget)
        destination = session.destination(pipeline, key)
        checkpoint = f"{destination.bucket}/{destination.key}"
        request_id = uuid4().hex
        command = RestoreCheckpoint(
            pipeline=name,
            scope=await _scope(session, name, destination, own=key is None or is_table),
            request_id=request_id,
            destination=destination,
            version=version,
            discard=discard,
        )
        known = {commit.version for commit in await session.checkpoints.history(checkpoint)}
        if version and version not in known:
            raise BadDeclarationError(f"{destination.uri} has no version {version}; it has {sorted(known)}")
        if not known and is_table:
            raise BadDeclarationError(f"{destination.uri} has no commits; there is nothing to restore")
        await session.publisher.send(MERGE_QUEUE, [command], run_id=request_id)
        commit = await _await_commit(session, checkpoint, request_id, timeout_s)
        undone = (await session.checkpoints.head(checkpoint)).undone
    rows = f"{commit.total_rows:,} rows"
    say(f"{destination.uri}: version {version} is current again, as version {commit.version} ({rows})")
    if any(high == commit.version - 1 for _, high in undone):
        say(f"rows of undone versions are eligible again; merge them with: tidegate run {name}")
        if pipeline.is_collected:
            say(f"what that run would read: tidegate plan {name}")
    elif discard and pipeline.is_collected:
        say("rows of undone versions stay out until a run reads them again: within its lag, or by a forced load")


async def _scope(session: Session, name: str, destination: Destination, *, own: bool) -> str:
    """The index that a checkpoint's rows are settled in: runs with a destination of their own have their own."""
    known = {head.checkpoint for head in await session.checkpoints.list(name)}
    shared = own or f"{destination.bucket}/{destination.key}" in known
    return scope_of(name, None if shared else destination)


async def _await_commit(session: Session, checkpoint: str, request_id: str, timeout_s: float) -> Commit:
    deadline = session.clock.monotonic() + timeout_s
    with meter("waiting for the merger"):
        while session.clock.monotonic() < deadline:
            for commit in await session.checkpoints.history(checkpoint):
                if commit.commit_id == request_id:
                    return commit
            await asyncio.sleep(POLL_S)
    raise TemporaryError(f"the merger has not restored it after {timeout_s:g} s; the request stays queued")
