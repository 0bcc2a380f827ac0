"""The parts of an entity in bronze, as its loads' manifests and results name them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from contracts.loads import GroupResult, LoadManifest, LoadPart
from contracts.pipelines import Pipeline
from contracts.runs import LoadType
from contracts.segments import Destination
from services.console.checkpoint_files import IN_FLIGHT, check_readable, inside, write
from services.console.output import meter
from services.console.session import Session
from services.runtime.aws.tables import each
from services.runtime.failures import CorruptCheckpointError, MalformedError, MissingObjectError

_KEY = re.compile(r"(?P<version>\d{12})/(?P<part>manifest|groups/(?P<group>\d+))\.json")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Published:
    """A load that is in bronze, whole."""

    manifest: LoadManifest
    parts: tuple[LoadPart, ...]


@dataclass(frozen=True, slots=True)
class EntityFiles:
    """An entity's current generation on this machine: its last full load, and the increments after it."""

    pipeline: Pipeline
    loads: tuple[Published, ...]
    files: tuple[Path, ...]
    """In the loads' order, each with the folders of its key."""

    @property
    def manifest(self) -> LoadManifest:
        """Of the newest load; its fields are the entity's present ones."""
        return self.loads[-1].manifest


async def published(session: Session, pipeline: Pipeline) -> list[Published]:
    """Every load of an entity that is complete, oldest first.

    Raises:
        MalformedError: a manifest or a result is not one.
    """
    bucket, prefix = session.settings.resource("state"), f"loads/{pipeline.name}/"
    found: dict[int, dict[str, str]] = {}
    async for info in session.objects.list(bucket, prefix):
        name = _KEY.fullmatch(info.key.removeprefix(prefix))
        if name is not None:
            found.setdefault(int(name["version"]), {})[name["group"] or "manifest"] = info.key
    versions = [await _read(session, bucket, found[version]) for version in sorted(found)]
    return [load for load in versions if load is not None]


async def _read(session: Session, bucket: str, keys: dict[str, str]) -> Published | None:
    """A load, or None while it is being written."""
    if "manifest" not in keys:
        return None
    manifest = await _parsed(session, bucket, keys["manifest"], LoadManifest)
    groups = [keys.get(str(number)) for number in range(len(manifest.groups))]
    parts: list[LoadPart] = []
    for key in groups:
        if key is None:
            return None
        parts += (await _parsed(session, bucket, key, GroupResult)).parts
    return Published(manifest, tuple(parts))


async def _parsed(session: Session, bucket: str, key: str, model: type[M]) -> M:
    stored = await session.objects.get(bucket, key)
    try:
        return model.model_validate_json(stored.body, extra="ignore")
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise MalformedError(f"s3://{bucket}/{key}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error


def current(loads: Sequence[Published]) -> tuple[Published, ...]:
    """Of an entity's loads the last full one and the increments after it; sweeps of keys are no rows."""
    rows = [load for load in loads if load.manifest.load_type is not LoadType.KEYS]
    if not rows:
        return ()
    generation = rows[-1].manifest.generation
    return tuple(load for load in rows if load.manifest.generation == generation)


async def fetch_entity(session: Session, pipeline: Pipeline, folder: Path) -> EntityFiles:
    """Download the current generation of an entity; files keep the folders of their keys.

    Raises:
        MissingObjectError: nothing of it is in bronze yet.
        CorruptCheckpointError: a part is gone, is not of the size that was written, or is not Parquet.
    """
    loads = current(await published(session, pipeline))
    if not loads:
        raise MissingObjectError(f"{pipeline.name} has no output yet; start with: tidegate run {pipeline.name}")
    parts = [(Destination(bucket=load.manifest.bucket, key=part.key), part) for load in loads for part in load.parts]
    done = 0
    with meter("downloaded", len(parts)) as progress:

        async def download(item: tuple[Destination, LoadPart]) -> None:
            nonlocal done
            await _download(session, item[0], item[1].size, inside(folder, item[0]))
            done += 1
            progress.update(done)

        await each(parts, download, limit=IN_FLIGHT)
    return EntityFiles(pipeline, loads, tuple(inside(folder, place) for place, _ in parts))


async def _download(session: Session, place: Destination, size: int, target: Path) -> None:
    try:
        stored = await session.objects.get(place.bucket, place.key)
    except MissingObjectError as error:
        raise CorruptCheckpointError(f"{place.uri} is gone, though a load that is complete wrote it") from error
    if len(stored.body) != size:
        raise CorruptCheckpointError(f"{place.uri} has {len(stored.body)} bytes; the load wrote {size}")
    await asyncio.to_thread(write, target, stored.body)
    await asyncio.to_thread(check_readable, target, place.uri)
