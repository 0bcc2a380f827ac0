"""Multipart uploads on S3."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError, IncompleteReadError

from services.runtime.aws.errors import CONFLICT, code_of, translated
from services.runtime.aws.objects import HTTP_CONFLICT, NO_VERSION, S3Objects
from services.runtime.failures import ConflictError, MalformedError, TemporaryError, UnreachableError
from services.runtime.multipart import Part, Upload, check_metadata, check_part, check_range, in_order
from services.runtime.objects import IF_ABSENT, ObjectInfo

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_NO_UPLOAD = "NoSuchUpload"
_CHANGED = CONFLICT | {"NoSuchKey", "NoSuchVersion", _NO_UPLOAD}
_BEYOND = frozenset({"InvalidRange", "416"})


class S3Multipart:
    """``MultipartStore`` over one S3 client.

    Objects are encrypted with the KMS key of this id or ARN, or as their bucket says where it is None.
    """

    def __init__(self, client: "S3Client", *, kms_key_id: str | None = None) -> None:
        self._client = client
        self._objects = S3Objects(client)
        self._encryption: dict[str, Any] = {}
        if kms_key_id is not None:
            self._encryption = {
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": kms_key_id,
                "BucketKeyEnabled": True,  # else every part would be a request to KMS
            }

    async def read_range(
        self, bucket: str, key: str, start: int, end: int, *, if_match: str, version_id: str | None = None
    ) -> bytes:
        """Exactly the bytes from ``start`` up to ``end``; an answer cut short is an UnreachableError.

        Raises:
            ConflictError: the object has another ETag, or is gone.
            MalformedError: the range is none, or goes beyond the object's end.
        """
        what = f"GetObject s3://{bucket}/{key}" + (f" version {version_id}" if version_id else "")
        check_range(what, start, end)
        pinned: dict[str, Any] = {"VersionId": version_id} if version_id else {}
        with _compared(what):
            try:
                answer = await self._client.get_object(
                    Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=_quoted(if_match), **pinned
                )
            except ClientError as error:
                if code_of(error) in _BEYOND:
                    raise MalformedError(f"{what}: the object ends before byte {start:,}") from error
                raise
            try:
                async with answer["Body"] as stream:
                    body = await stream.read()
            except (ClientPayloadError, IncompleteReadError) as error:
                raise UnreachableError(f"{what}: the answer was cut short: {error}") from error
        if "ContentRange" not in answer:  # a store may answer with all of it
            body = body[start:end]
        if len(body) != end - start:
            raise MalformedError(f"{what}: the object ends at byte {start + len(body):,}, before {end:,}")
        return body

    async def begin(self, bucket: str, key: str, *, metadata: Mapping[str, str], content_type: str) -> Upload:
        """Begin an upload.

        Raises:
            MalformedError: there is no metadata, or S3 would not give it back as it is.
        """
        check_metadata(metadata)
        with translated(f"CreateMultipartUpload s3://{bucket}/{key}"):
            answer = await self._client.create_multipart_upload(
                Bucket=bucket, Key=key, Metadata=metadata, ContentType=content_type, **self._encryption
            )
        return Upload(bucket, key, answer["UploadId"], dict(metadata))

    async def copy_part(self, upload: Upload, number: int, source: ObjectInfo, start: int, end: int) -> Part:
        """Copy a range of an object of the same bucket inside S3, pinned to its ETag and version.

        Raises:
            ConflictError: what is there is not ``source`` any more, or the upload is gone.
            MalformedError: no range of ``source``, or no part that S3 would take.
        """
        what = f"UploadPartCopy {upload.uri} from {source.key}"
        check_range(what, start, end, source.size)
        check_part(what, number, end - start)
        place: Any = {"Bucket": upload.bucket, "Key": source.key}
        if source.version_id:
            place["VersionId"] = source.version_id
        with _compared(what):
            answer = await self._client.upload_part_copy(
                **_of(upload),
                PartNumber=number,
                CopySource=place,
                CopySourceRange=f"bytes={start}-{end - 1}",
                CopySourceIfMatch=_quoted(source.etag),
            )
        return Part(number, answer["CopyPartResult"]["ETag"].strip('"'), end - start)

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        """Send a part.

        Raises:
            ConflictError: the upload is gone.
            MalformedError: no part that S3 would take.
        """
        what = f"UploadPart {upload.uri}"
        check_part(what, number, len(body))
        with _compared(what):
            answer = await self._client.upload_part(**_of(upload), PartNumber=number, Body=body)
        return Part(number, answer["ETag"].strip('"'), len(body))

    async def complete(self, upload: Upload, parts: Sequence[Part], *, if_match: str) -> ObjectInfo:
        """Make the parts the object that replaces ``if_match``, or the first one with IF_ABSENT.

        Raises:
            ConflictError: the object is another one, or nobody answered; and it is not this upload's.
            TemporaryError: S3 was busy, and the object is not this upload's.
            MalformedError: S3 would refuse the parts; nothing was sent.
        """
        ordered = in_order(upload, parts)
        what = f"CompleteMultipartUpload {upload.uri}"
        condition: Any = {"IfNoneMatch": "*"} if if_match == IF_ABSENT else {"IfMatch": _quoted(if_match)}
        try:
            with _compared(what):
                answer = await self._client.complete_multipart_upload(
                    **_of(upload),
                    MultipartUpload={"Parts": [{"PartNumber": p.number, "ETag": _quoted(p.etag)} for p in ordered]},
                    **condition,
                )
        except (ConflictError, TemporaryError, UnreachableError) as error:
            # The SDK repeats what was not answered, so even a refusal may be about our own first try.
            standing = await self._objects.head(upload.bucket, upload.key)
            if standing is not None and upload.made(standing, if_match=if_match):
                return standing
            if isinstance(error, UnreachableError):
                raise ConflictError(f"{error}; what is there is not of this upload") from error
            raise
        version = answer.get("VersionId")
        return ObjectInfo(
            key=upload.key,
            etag=answer["ETag"].strip('"'),
            size=sum(part.size for part in ordered),
            version_id=None if version == NO_VERSION else version,
            metadata=dict(upload.metadata),
        )

    async def abort(self, upload: Upload) -> None:
        """Give an upload up; giving up what is completed or gone already is no error."""
        what = f"AbortMultipartUpload {upload.uri}"
        with translated(what):
            try:
                await self._client.abort_multipart_upload(**_of(upload))
            except ClientError as error:
                if code_of(error) != _NO_UPLOAD:
                    raise

    async def abandoned(self, bucket: str, prefix: str, older_than: datetime) -> list[Upload]:
        """Uploads under a prefix that were begun before a moment and neither completed nor aborted, oldest first."""
        found: list[tuple[datetime, Upload]] = []
        with translated(f"ListMultipartUploads s3://{bucket}/{prefix}"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
            async for page in pages:
                found.extend(
                    (entry["Initiated"], Upload(bucket, entry["Key"], entry["UploadId"]))
                    for entry in page.get("Uploads", ())
                    if entry["Initiated"] < older_than
                )
        return [upload for _, upload in sorted(found, key=lambda pair: pair[0])]


def _of(upload: Upload) -> Any:
    return {"Bucket": upload.bucket, "Key": upload.key, "UploadId": upload.upload_id}


def _quoted(etag: str) -> str:
    return f'"{etag}"'


@contextmanager
def _compared(what: str) -> Iterator[None]:
    """Translate what S3 raises; a change or loss of what was there, or of the upload, is a ConflictError."""
    with translated(what):
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status != HTTP_CONFLICT and code_of(error) not in _CHANGED:
                raise
            text = error.response.get("Error", {}).get("Message", "")
            raise ConflictError(f"{what}: {code_of(error)}: {text}") from error
