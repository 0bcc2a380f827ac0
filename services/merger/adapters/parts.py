"""Groups of parts: landing files in, parts of bronze out."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import BinaryIO

from contracts.loads import GroupResult, LandedSegment, LoadManifest, PartGroup
from contracts.pipelines import Pipeline
from contracts.sources import EntitySource
from services.merger.adapters.bronze import GroupWriter, Shapes, release_memory
from services.merger.adapters.chunks import fetch
from services.merger.adapters.known import known_rows
from services.merger.core.duplicates import Identities, joined
from services.merger.core.loads import windows
from services.merger.ports import Known
from services.runtime.checkpoints import STAMP_VERSION
from services.runtime.failures import BadDeclarationError
from services.runtime.objects import ObjectStore

GROUPS_IN_FLIGHT = 2
"""Groups that one process writes side by side: one of them uses the processor while the other waits for its store."""
PUTS_IN_FLIGHT = 8
STAMP_RUN = "tidegate-run"
"""Object metadata of a part: the run that wrote it, beside the version."""
PARQUET = "application/vnd.apache.parquet"


class S3Parts:
    """``Parts`` over an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._limit = asyncio.Semaphore(GROUPS_IN_FLIGHT)

    async def write(
        self, pipeline: Pipeline, manifest: LoadManifest, group: int, segments: Sequence[LandedSegment], known: Known
    ) -> GroupResult:
        """See the port."""
        if not isinstance(pipeline.source, EntitySource):
            raise BadDeclarationError(f"{pipeline.name} has a load, but its source is of kind {pipeline.source.kind}")
        shapes = Shapes.of(pipeline.source, manifest)
        wanted = manifest.groups[group]
        async with self._limit:
            with ExitStack() as files:
                cut = windows(segments, wanted, by_hash=shapes.by_hash)
                identities = await self._identities(manifest, wanted, known, shapes)
                writer = GroupWriter(shapes, wanted, identities, files, remembers=shapes.by_hash and len(cut) > 1)
                for window in cut:
                    chunks = await fetch(self._objects, segments, window)
                    await asyncio.to_thread(writer.take, window, chunks)
                await asyncio.to_thread(writer.close)
                await self._put(manifest, writer)
                result = writer.result(segments)
            release_memory()
            return result

    async def _identities(
        self, manifest: LoadManifest, group: PartGroup, known: Known, shapes: Shapes
    ) -> dict[str | None, Identities]:
        found: dict[str | None, list[Identities]] = {}
        dates = {part.date for part in group.parts}
        least, cursor = known.least_cursor, shapes.cursor
        if least is None or cursor is None:
            return {}
        for part in known.parts:
            if part.date in dates:
                rows = await known_rows(self._objects, manifest.bucket, part, shapes.key, cursor, least)
                found.setdefault(part.date, []).extend([] if rows is None else [rows])
        return {date: whole for date, several in found.items() if (whole := joined(several)) is not None}

    async def _put(self, manifest: LoadManifest, writer: GroupWriter) -> None:
        limit = asyncio.Semaphore(PUTS_IN_FLIGHT)
        stamps = {STAMP_RUN: manifest.run_id, STAMP_VERSION: str(manifest.version)}

        async def put(key: str, body: bytes | BinaryIO) -> None:
            async with limit:
                await self._objects.put(manifest.bucket, key, body, metadata=stamps, content_type=PARQUET)

        await asyncio.gather(*(put(key, body) for key, body in writer.bodies()))
