"""Buckets in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import BinaryIO

from services.runtime.clock import Clock
from services.runtime.failures import AccessDeniedError, ConflictError, MissingObjectError
from services.runtime.objects import IF_ABSENT, ObjectInfo, Span, StoredObject
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects

BUCKETS: Mapping[str, bool] = {"versioned": True, "plain": False}


@dataclass
class FakeBucket:
    """One bucket: each key with its versions, oldest first; None is a delete marker."""

    keeps_versions: bool
    denied: bool = False
    keys: dict[str, list[StoredObject | None]] = field(default_factory=dict)

    def current(self, key: str) -> StoredObject | None:
        """What a plain read of the key finds."""
        return self.keys.get(key, [None])[-1]


class FakeObjects:
    """``ObjectStore`` over buckets given as name → whether it keeps versions.

    ``puts`` is every put that happened, in order, as (bucket, what was written): the events S3 would send.
    Two instances over the same ``buckets`` attribute are two processes over one store.
    """

    def __init__(
        self, buckets: Mapping[str, bool] = BUCKETS, *, effects: Effects | None = None, clock: Clock | None = None
    ) -> None:
        self.buckets = {name: FakeBucket(keeps_versions) for name, keeps_versions in buckets.items()}
        self.puts: list[tuple[str, ObjectInfo]] = []
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects) -> "FakeObjects":
        """The same store as another process reaches it."""
        other = FakeObjects({}, effects=effects, clock=self._clock)
        other.buckets, other.puts = self.buckets, self.puts
        return other

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """See ``ObjectStore``."""
        found = self._bucket(bucket).current(key)
        if version_id is not None:
            versions = self._bucket(bucket).keys.get(key, [])
            found = next((each for each in versions if each and each.info.version_id == version_id), None)
        if found is None:
            raise MissingObjectError(f"s3://{bucket}/{key} version {version_id}")
        if span is None:
            return found
        return StoredObject(span.of(found.body), found.info)

    async def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore``."""
        found = self._bucket(bucket).current(key)
        return found.info if found else None

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """See ``ObjectStore``; the content type is not kept, because nothing here reads it."""
        if not content_type:
            raise ValueError("an object needs a content type")
        if not isinstance(body, bytes):
            body.seek(0)
        content = body if isinstance(body, bytes) else body.read()

        def write() -> ObjectInfo:
            holder = self._bucket(bucket)
            current = holder.current(key)
            etag = current.info.etag if current else None
            if if_match is not None and (etag is not None if if_match == IF_ABSENT else etag != if_match):
                raise ConflictError(f"s3://{bucket}/{key} has ETag {etag}")
            info = ObjectInfo(
                key=key,
                etag=md5(content, usedforsecurity=False).hexdigest(),
                size=len(content),
                version_id=f"v{len(self.puts) + 1}" if holder.keeps_versions else None,
                last_modified=self._clock.now(),
                metadata=dict(metadata or {}),
            )
            versions = holder.keys.setdefault(key, [])
            if not holder.keeps_versions:
                versions.clear()
            versions.append(StoredObject(content, info))
            self.puts.append((bucket, info))
            return replace(info, last_modified=None)

        return await self.effects.perform(f"put s3://{bucket}/{key}", write)

    async def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore``."""

        def remove() -> None:
            holder = self._bucket(bucket)
            if not holder.keeps_versions:
                holder.keys.pop(key, None)
            else:
                holder.keys.setdefault(key, []).append(None)

        await self.effects.perform(f"delete s3://{bucket}/{key}", remove)

    async def list_versions(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore``; newest first within a key."""
        for _, versions in self._under(bucket, prefix):
            for found in reversed(versions):
                if found is not None:
                    yield replace(found.info, metadata={})

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """See ``ObjectStore``; as in S3, a listing has no metadata."""
        for _, versions in self._under(bucket, prefix):
            if versions[-1] is not None:
                yield replace(versions[-1].info, version_id=None, metadata={})

    def _under(self, bucket: str, prefix: str) -> Sequence[tuple[str, Sequence[StoredObject | None]]]:
        keys = self._bucket(bucket).keys
        found = [(key, versions) for key, versions in keys.items() if key.startswith(prefix)]
        return sorted(found, key=lambda pair: pair[0].encode())

    def _bucket(self, name: str) -> FakeBucket:
        if name not in self.buckets:
            raise MissingObjectError(f"bucket {name} does not exist")
        if self.buckets[name].denied:
            raise AccessDeniedError(f"bucket {name} is denied")
        return self.buckets[name]
