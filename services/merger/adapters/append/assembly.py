"""Puts an object together from a beginning that the store has and an end that we send, and swaps it in."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import structlog

from contracts.segments import Destination
from services.merger.adapters.rewrite import PARQUET
from services.runtime.failures import TidegateError
from services.runtime.multipart import IN_FLIGHT, PART_MIN, MultipartStore, Part, Upload, cuts
from services.runtime.objects import IF_ABSENT, ObjectInfo, ObjectStore

log = structlog.get_logger()

PART_BYTES = 8 * 1024 * 1024
"""Fewest bytes of a part that we send, but of the last; none has twice as many."""


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
        self._waiting: list[bytes] = []

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
            beginning = await self._stores.multipart.read_range(
                self._to.bucket, self._to.key, 0, end, if_match=source.etag, version_id=source.version_id
            )
            self._waiting.append(beginning)
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
        if body:
            self._waiting.append(body)
        if sum(map(len, self._waiting)) >= self._stores.part_bytes:
            await self._send()

    async def finish(self) -> ObjectInfo:
        """Swap it in.

        Raises:
            ConflictError: the object is not the one it must replace, or the outcome is unknown.
        """
        if self._upload is None:
            return await self._stores.objects.put(
                self._to.bucket,
                self._to.key,
                b"".join(self._waiting),
                if_match=self._if_match,
                metadata=self._metadata,
                content_type=PARQUET,
            )
        if self._waiting:
            await self._send()
        return await self._stores.multipart.complete(self._upload, self._parts, if_match=self._if_match)

    async def _send(self) -> None:
        body, self._waiting = b"".join(self._waiting), []
        upload = await self._begun()
        number = max(1, len(body) // self._stores.part_bytes)
        for start, end in pairwise(len(body) * index // number for index in range(number + 1)):
            part = await self._stores.multipart.put_part(upload, len(self._parts) + 1, body[start:end])
            self._parts.append(part)

    async def _begun(self) -> Upload:
        if self._upload is None:
            self._upload = await self._stores.multipart.begin(
                self._to.bucket, self._to.key, metadata=self._metadata, content_type=PARQUET
            )
        return self._upload
