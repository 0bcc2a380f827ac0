"""The store of the merge benchmarks: one local file, which a merge changes or not."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from services.merger.core.commits import STAMP_COMMIT
from services.runtime.checkpoints import Head
from services.runtime.multipart import Part, Upload
from services.runtime.objects import ObjectInfo, Span, StoredObject


class LocalStore:
    """What merges use of ``ObjectStore`` and ``MultipartStore``, over one file; ``keeps`` what is put or not."""

    def __init__(self, path: Path, key: str, *, keeps: bool) -> None:
        self._path = path
        self._key = key
        self._keeps = keeps
        self.moved: dict[str, int] = {}
        self.requests = 0
        self._from = 0
        self._metadata = {STAMP_COMMIT: "base"}

    @property
    def info(self) -> ObjectInfo:
        """What a HEAD says."""
        return ObjectInfo(self._key, "etag", self._path.stat().st_size, metadata=self._metadata)

    async def get(self, *_: str, version_id: str | None = None, span: Span | None = None) -> StoredObject:
        """The object, or some of it."""
        del version_id
        size = self.info.size
        start, end = 0, size
        if span is not None:
            start = max(0, size - span.length) if span.offset is None else span.offset
            end = min(size, start + span.length)
        return StoredObject(await self.read_range("", "", start, end), self.info)

    async def list(self, *_: str) -> AsyncIterator[ObjectInfo]:
        """The one object."""
        yield self.info

    async def read_range(self, _: str, __: str, start: int, end: int, **___: object) -> bytes:
        """A range."""
        self._count("read", end - start)
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    async def put(self, *place: str, **_: object) -> ObjectInfo:
        """A whole object."""
        self._from = 0
        return await self._write(cast("bytes", place[2]))

    async def begin(self, bucket: str, key: str, **_: object) -> Upload:
        """An upload."""
        return Upload(bucket, key, "upload")

    async def copy_part(self, _: Upload, number: int, __: ObjectInfo, start: int, end: int) -> Part:
        """A copy, which costs the client nothing."""
        self._count("copied", end - start)
        self._from = end
        return Part(number, "", end - start)

    async def put_part(self, _: Upload, number: int, body: bytes) -> Part:
        """A part that is sent."""
        await self._write(body)
        return Part(number, "", len(body))

    async def complete(self, *_: object, **__: object) -> ObjectInfo:
        """The end."""
        return self.info

    async def _write(self, body: bytes) -> ObjectInfo:
        self._count("sent", len(body))
        if self._keeps:
            with self._path.open("r+b" if self._path.exists() else "wb") as file:
                file.seek(self._from)
                file.write(body)
                file.truncate()
                self._from = file.tell()
        return self.info

    def _count(self, what: str, size: int) -> None:
        self.requests += 1
        self.moved[what] = self.moved.get(what, 0) + size


class NoHeads:
    """What asking for keys uses of ``Checkpoints``; it knows of no file."""

    async def list(self, _: str) -> list[Head]:
        """None."""
        return []
