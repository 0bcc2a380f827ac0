"""The object store on S3."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from os import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO

from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError, IncompleteReadError

from services.runtime.aws.errors import MISSING, code_of, translate, translated
from services.runtime.failures import ConflictError, MissingObjectError, UnreachableError
from services.runtime.objects import IF_ABSENT, ObjectInfo, Span, StoredObject

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

HTTP_CONFLICT = 409
NO_VERSION = "null"
"""The version id S3 gives to objects of a bucket that keeps no versions."""


class S3Objects:
    """``ObjectStore`` over one S3 client."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """Read an object, one version of it or some of its bytes; an answer cut short is an UnreachableError."""
        what = f"GetObject s3://{bucket}/{key}" + (f" version {version_id}" if version_id else "")
        pinned: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        if span is not None:
            end = f"{span.offset + span.length - 1}" if span.offset is not None else f"{span.length}"
            pinned["Range"] = f"bytes={'' if span.offset is None else span.offset}-{end}"
        with translated(what):
            answer = await self._client.get_object(Bucket=bucket, Key=key, **pinned)
            try:
                async with answer["Body"] as stream:
                    body = await stream.read()
            except (ClientPayloadError, IncompleteReadError) as error:
                raise UnreachableError(f"{what}: the answer was cut short: {error}") from error
        if span is None or "ContentRange" not in answer:  # a store may answer with all of it
            return StoredObject(body if span is None else span.of(body), _info(key, answer, size=len(body)))
        return StoredObject(body, _info(key, answer, size=int(answer["ContentRange"].rpartition("/")[2])))

    async def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """What is there now, or None."""
        try:
            with translated(f"HeadObject s3://{bucket}/{key}"):
                answer = await self._client.head_object(Bucket=bucket, Key=key)
        except MissingObjectError:
            # The answer to a HEAD has no body, so S3 cannot say whether it is the key or the bucket.
            await self._require(bucket)
            return None
        return _info(key, answer, size=answer["ContentLength"])

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
        """Write an object. ``if_match`` is the ETag it must replace, or IF_ABSENT.

        Raises:
            ConflictError: the condition does not hold, or the first of several tries won unheard.
        """
        what = f"PutObject s3://{bucket}/{key}"
        size = len(body) if isinstance(body, bytes) else body.seek(0, SEEK_END)
        if not isinstance(body, bytes):
            body.seek(0)
        with translated(what):
            try:
                answer = await self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    Metadata=metadata or {},
                    **_condition(if_match),
                )
            except ClientError as error:
                if if_match is not None and _is_conflict(error):
                    raise ConflictError(f"{what}: the condition does not hold: {code_of(error)}") from error
                raise
        return ObjectInfo(
            key=key,
            etag=_bare(answer["ETag"]),
            size=size,
            version_id=_version(answer),
            metadata=dict(metadata or {}),
        )

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; removing what is not there is no error."""
        with translated(f"DeleteObject s3://{bucket}/{key}"):
            await self._client.delete_object(Bucket=bucket, Key=key)

    async def list_versions(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every version of every object under a prefix; delete markers are left out."""
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        async for page in _pages(pages, f"ListObjectVersions s3://{bucket}/{prefix}"):
            for entry in page.get("Versions", ()):
                yield _listed(entry)

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every current object under a prefix, in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        async for page in _pages(pages, f"ListObjectsV2 s3://{bucket}/{prefix}"):
            for entry in page.get("Contents", ()):
                yield _listed(entry)

    async def _require(self, bucket: str) -> None:
        try:
            await self._client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if code_of(error) in MISSING:
                raise MissingObjectError(f"bucket {bucket} does not exist") from error
            raise translate(error, f"HeadBucket {bucket}") from error


async def _pages(pages: AsyncIterator[Any] | Any, what: str) -> AsyncIterator[Mapping[str, Any]]:
    remaining = aiter(pages)
    while True:
        with translated(what):
            page = await anext(remaining, None)
        if page is None:
            return
        yield page


def _condition(if_match: str | None) -> dict[str, Any]:
    if if_match is None:
        return {}
    return {"IfNoneMatch": "*"} if if_match == IF_ABSENT else {"IfMatch": f'"{if_match}"'}


def _is_conflict(error: ClientError) -> bool:
    """Whether a conditional put lost; If-Match on an object that is gone is answered NoSuchKey."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == HTTP_CONFLICT or code_of(error) in {"PreconditionFailed", "412", "NoSuchKey"}


def _bare(etag: str) -> str:
    return etag.strip('"')


def _version(answer: Mapping[str, Any]) -> str | None:
    version: str | None = answer.get("VersionId")
    return None if version == NO_VERSION else version


def _info(key: str, answer: Mapping[str, Any], *, size: int) -> ObjectInfo:
    modified: datetime | None = answer.get("LastModified")
    return ObjectInfo(
        key=key,
        etag=_bare(answer["ETag"]),
        size=size,
        version_id=_version(answer),
        last_modified=modified,
        metadata=dict(answer.get("Metadata", {})),
    )


def _listed(entry: Mapping[str, Any]) -> ObjectInfo:
    return _info(entry["Key"], entry, size=entry["Size"])
