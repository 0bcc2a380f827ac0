"""Multipart uploads in memory, over the same buckets as ``FakeObjects``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import md5
from itertools import count

from services.runtime.failures import ConflictError, MalformedError, UnreachableError
from services.runtime.multipart import PART_MIN, Part, Upload, check_metadata, check_part, check_range, in_order
from services.runtime.objects import IF_ABSENT, ObjectInfo, StoredObject
from tests.fakes.objects import FakeBucket, FakeObjects


@dataclass
class PendingUpload:
    """An upload that was begun; ``parts`` by number."""

    upload: Upload
    begun: datetime
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


class FakeMultipart:
    """``MultipartStore`` over the buckets of a ``FakeObjects``, whose effects, puts and clock are also its own.

    ``pending`` is what neither was completed nor aborted, by upload id. ``smallest`` is the fewest bytes of a part
    that is not the last; S3's own unless a test wants small files.
    """

    def __init__(self, objects: FakeObjects, *, smallest: int = PART_MIN) -> None:
        self.objects = objects
        self.pending: dict[str, PendingUpload] = {}
        self.content_types: dict[tuple[str, str], str] = {}
        self.copied = 0
        """Bytes that were copied inside the store."""
        self.sent = 0
        """Bytes of parts that were sent to it."""
        self._smallest = smallest
        self._numbers = count(1)

    def seen_by(self, objects: FakeObjects) -> "FakeMultipart":
        """The same store as another process reaches it, through its own view of the objects."""
        other = FakeMultipart(objects, smallest=self._smallest)
        other.pending, other.content_types, other._numbers = self.pending, self.content_types, self._numbers
        return other

    async def read_range(
        self, bucket: str, key: str, start: int, end: int, *, if_match: str, version_id: str | None = None
    ) -> bytes:
        """See ``MultipartStore``."""
        what = f"s3://{bucket}/{key}"
        check_range(what, start, end)
        found = self._source(bucket, key, version_id, if_match)
        check_range(what, start, end, found.info.size)
        return found.body[start:end]

    async def begin(self, bucket: str, key: str, *, metadata: Mapping[str, str], content_type: str) -> Upload:
        """See ``MultipartStore``."""
        check_metadata(metadata)
        if not content_type:
            raise ValueError("an object needs a content type")

        def begin() -> Upload:
            self.objects._bucket(bucket)
            upload = Upload(bucket, key, f"upload-{next(self._numbers)}", dict(metadata))
            self.pending[upload.upload_id] = PendingUpload(upload, self.objects._clock.now(), content_type)
            return upload

        return await self.objects.effects.perform(f"begin s3://{bucket}/{key}", begin)

    async def copy_part(self, upload: Upload, number: int, source: ObjectInfo, start: int, end: int) -> Part:
        """See ``MultipartStore``."""
        check_range(upload.uri, start, end, source.size)
        check_part(upload.uri, number, end - start)

        def copy() -> Part:
            found = self._source(upload.bucket, source.key, source.version_id, source.etag)
            self.copied += end - start
            return self._keep(upload, number, found.body[start:end])

        return await self.objects.effects.perform(f"copy part {number} of {upload.uri}", copy)

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        """See ``MultipartStore``."""
        check_part(upload.uri, number, len(body))

        def put() -> Part:
            self.sent += len(body)
            return self._keep(upload, number, body)

        return await self.objects.effects.perform(f"put part {number} of {upload.uri}", put)

    async def complete(self, upload: Upload, parts: Sequence[Part], *, if_match: str) -> ObjectInfo:
        """See ``MultipartStore``."""
        ordered = in_order(upload, parts, smallest=self._smallest)
        try:
            return await self.objects.effects.perform(
                f"complete {upload.uri}", lambda: self._complete(upload, ordered, if_match)
            )
        except (ConflictError, UnreachableError) as error:
            standing = await self.objects.head(upload.bucket, upload.key)
            if standing is not None and upload.made(standing, if_match=if_match):
                return standing
            raise ConflictError(f"{error}; what is there is not of this upload") from error

    async def abort(self, upload: Upload) -> None:
        """See ``MultipartStore``."""

        def abort() -> None:
            self.objects._bucket(upload.bucket)
            self.pending.pop(upload.upload_id, None)

        await self.objects.effects.perform(f"abort {upload.uri}", abort)

    async def abandoned(self, bucket: str, prefix: str, older_than: datetime) -> list[Upload]:
        """See ``MultipartStore``."""
        self.objects._bucket(bucket)
        found = [each for each in self.pending.values() if each.upload.bucket == bucket and each.begun < older_than]
        found.sort(key=lambda each: each.begun)
        return [replace(each.upload, metadata={}) for each in found if each.upload.key.startswith(prefix)]

    def _source(self, bucket: str, key: str, version_id: str | None, etag: str) -> StoredObject:
        """What S3 would read or copy from.

        Raises:
            ConflictError: it is gone or another one.
        """
        holder = self.objects._bucket(bucket)
        found = holder.current(key)
        if version_id is not None:
            found = next((v for v in holder.keys.get(key, []) if v and v.info.version_id == version_id), None)
        if found is None or found.info.etag != etag:
            raise ConflictError(f"s3://{bucket}/{key} has ETag {found.info.etag if found else None}, not {etag}")
        return found

    def _keep(self, upload: Upload, number: int, body: bytes) -> Part:
        self._pending(upload).parts[number] = body
        return Part(number, md5(body, usedforsecurity=False).hexdigest(), len(body))

    def _pending(self, upload: Upload) -> PendingUpload:
        self.objects._bucket(upload.bucket)
        pending = self.pending.get(upload.upload_id)
        if pending is None or (pending.upload.bucket, pending.upload.key) != (upload.bucket, upload.key):
            raise ConflictError(f"{upload.uri}: there is no upload {upload.upload_id}")
        return pending

    def _complete(self, upload: Upload, ordered: Sequence[Part], if_match: str) -> ObjectInfo:
        pending = self._pending(upload)
        holder = self.objects._bucket(upload.bucket)
        _require(holder, upload.key, if_match, pending.begun)
        bodies = [pending.parts.get(part.number, b"") for part in ordered]
        digests = [md5(body, usedforsecurity=False) for body in bodies]
        for part, digest in zip(ordered, digests, strict=True):
            if digest.hexdigest() != part.etag:
                raise MalformedError(f"{upload.uri}: part {part.number} is not the one that was sent")
        whole = md5(b"".join(digest.digest() for digest in digests), usedforsecurity=False)
        info = ObjectInfo(
            key=upload.key,
            etag=f"{whole.hexdigest()}-{len(ordered)}",
            size=sum(map(len, bodies)),
            version_id=f"v{len(self.objects.puts) + 1}" if holder.keeps_versions else None,
            last_modified=self.objects._clock.now(),
            metadata=dict(pending.upload.metadata),
        )
        versions = holder.keys.setdefault(upload.key, [])
        if not holder.keeps_versions:
            versions.clear()
        versions.append(StoredObject(b"".join(bodies), info))
        self.objects.puts.append((upload.bucket, info))
        self.content_types[upload.bucket, upload.key] = pending.content_type
        del self.pending[upload.upload_id]
        return replace(info, last_modified=None)


def _require(holder: FakeBucket, key: str, if_match: str, begun: datetime) -> None:
    current = holder.current(key)
    etag = current.info.etag if current else None
    if (etag is not None) if if_match == IF_ABSENT else (etag != if_match):
        raise ConflictError(f"{key} has ETag {etag}")
    if current is not None and current.info.last_modified is not None and current.info.last_modified > begun:
        raise ConflictError(f"{key} is younger than the upload")
