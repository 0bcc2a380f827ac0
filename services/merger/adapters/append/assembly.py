"""Puts an object together from a beginning that the store has and an end that we send, and swaps it in."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import structlog

from contracts.segments import Destination
from services.merger.adapters.rewrite import PARQUET
from services.runtime.failures import TidegateError
from services.runtime.multipart import IN_FLIGHT, PART_MIN, MultipartStore, Part, Upload, cuts
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore

log = structlog.get_logger()

PART_BYTES = 16 * 1024 * 1024
"""Bytes of a part that we send, but the last."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The two ways to the store, and how parts are cut for it (bytes)."""

    objects: ObjectStore
    multipart: MultipartStore
    part_min: int = PART_MIN
    part_bytes: int = PART_BYTES


class Assembly:
    """One object in the making. Nothing of it is seen before ``finish``; leaving the block without it gives it up.

    What is too small to be parts is put as a whole, under the same condition.
    """

    def __init__(
        self, stores: Stores, destination: Destination, base: ObjectInfo | None, metadata: Mapping[str, str]
    ) -> None:
        self._stores = stores
        self._to = destination
        self._if_match = IF_ABSENT if base is None else base.etag
        self._metadata = metadata
        self._upload: Upload | None = None
        self._parts: list[Part] = []
        self._waiting = bytearray()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or self._upload is None:
            return
        try:
            await self._stores.multipart.abort(self._upload)
        except TidegateError as refusal:  # why we give up says more; the bucket's lifecycle rule removes the parts
            log.warning("an upload was left behind", upload=self._upload.upload_id, error=str(refusal))

    async def keep(self, source: ObjectInfo, end: int) -> None:
        """Begin with the first ``end`` bytes of a version of this object.

        Raises:
            ConflictError: it is not there any more.
        """
        if 0 < end < self._stores.part_min:
            self._waiting += await self._stores.multipart.read_range(
                self._to.bucket, self._to.key, 0, end, if_match=source.etag, version_id=source.version_id
            )
        elif end:
            upload = await self._begun()
            limit = asyncio.Semaphore(IN_FLIGHT)

            async def copy(number: int, start: int, after: int) -> Part:
                async with limit:
                    return await self._stores.multipart.copy_part(upload, number, source, start, after)

            pending = [copy(number, *cut) for number, cut in enumerate(cuts(0, end), start=1)]
            # Every copy is seen to its end, because one that comes after the upload was given up would stay for ever.
            for outcome in await asyncio.gather(*pending, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                self._parts.append(outcome)

    async def add(self, body: bytes) -> None:
        """Bytes that follow."""
        self._waiting += body
        while len(self._waiting) >= 2 * self._stores.part_bytes:  # what is left makes a part of its own, if the last
            await self._send(self._stores.part_bytes)

    async def finish(self) -> ObjectInfo:
        """Swap it in.

        Raises:
            ConflictError: the object is not the one it must replace, or the outcome is unknown.
        """
        if self._upload is None:
            return await self._stores.objects.put(
                self._to.bucket,
                self._to.key,
                bytes(self._waiting),
                if_match=self._if_match,
                metadata=self._metadata,
                content_type=PARQUET,
            )
        if self._waiting:
            await self._send(len(self._waiting))
        return await self._stores.multipart.complete(self._upload, self._parts, if_match=self._if_match)

    async def _send(self, size: int) -> None:
        upload = await self._begun()
        part = await self._stores.multipart.put_part(upload, len(self._parts) + 1, bytes(self._waiting[:size]))
        self._parts.append(part)
        del self._waiting[:size]

    async def _begun(self) -> Upload:
        if self._upload is None:
            self._upload = await self._stores.multipart.begin(
                self._to.bucket, self._to.key, metadata=self._metadata, content_type=PARQUET
            )
        return self._upload
