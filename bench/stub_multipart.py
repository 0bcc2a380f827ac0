"""Multipart uploads of the S3 stub: what a merge by parts needs, and what file systems use for every new file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5
from urllib.parse import unquote

from bench.stub_objects import PreconditionError, StubObjects
from bench.stub_rope import Rope

_PART = re.compile(r"<PartNumber>(\d+)</PartNumber>")

Answer = tuple[int, str, str]
"""Status, an XML body or an error code, and further headers."""


@dataclass(slots=True)
class StubUpload:
    """Parts by number, and the headers that the object will have."""

    headers: Mapping[str, str]
    parts: dict[int, Rope] = field(default_factory=dict)


class StubUploads:
    """Uploads of one stub; a copied part costs its answer alone, as it costs a client of S3."""

    def __init__(self, objects: StubObjects) -> None:
        self._objects = objects
        self._uploads: dict[str, StubUpload] = {}
        self._begun = 0

    def begin(self, headers: Mapping[str, str]) -> Answer:
        """CreateMultipartUpload."""
        self._begun += 1
        name = f"upload-{self._begun:06d}"
        self._uploads[name] = StubUpload(dict(headers))
        return 200, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>", ""

    def part(self, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Answer:
        """UploadPart and UploadPartCopy."""
        upload = self._uploads.get(query["uploadId"])
        if upload is None:
            return 404, "NoSuchUpload", ""
        number = int(query["partNumber"])
        etag = md5(f"{query['uploadId']}/{number}/{len(body)}".encode(), usedforsecurity=False).hexdigest()
        source = headers.get("x-amz-copy-source")
        if source is None:
            upload.parts[number] = Rope([body])
            return 200, "", f'ETag: "{etag}"\r\n'
        path, _, version = source.lstrip("/").partition("?versionId=")
        bucket, _, key = unquote(path).partition("/")
        found = self._objects.find(bucket, key, version or None)
        if found is None:
            return 404, "NoSuchKey", ""
        if headers.get("x-amz-copy-source-if-match", found.etag).strip('"') != found.etag:
            return 412, "PreconditionFailed", ""
        first, _, last = headers["x-amz-copy-source-range"].removeprefix("bytes=").partition("-")
        upload.parts[number] = found.body.cut(int(first), int(last) + 1)
        return 200, f"<CopyPartResult><ETag>&quot;{etag}&quot;</ETag></CopyPartResult>", ""

    def complete(self, bucket: str, key: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """CompleteMultipartUpload, under the conditions of a put."""
        upload = self._uploads.get(name)
        if upload is None:
            return 404, "NoSuchUpload", ""
        conditions = {key: value for key, value in headers.items() if key in {"if-match", "if-none-match"}}
        whole = Rope.joined(upload.parts[int(number)] for number in _PART.findall(body.decode()))
        try:
            written = self._objects.put(bucket, key, whole, headers={**upload.headers, **conditions})
        except PreconditionError:
            return 412, "PreconditionFailed", ""
        del self._uploads[name]
        page = f"<CompleteMultipartUploadResult><Key>{key}</Key><ETag>&quot;{written.etag}&quot;</ETag>"
        return 200, f"{page}</CompleteMultipartUploadResult>", f"x-amz-version-id: {written.version_id}\r\n"

    def abort(self, name: str) -> Answer:
        """AbortMultipartUpload."""
        return (204, "", "") if self._uploads.pop(name, None) else (404, "NoSuchUpload", "")


def unchunked(headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a body that was sent in signed chunks."""
    if "aws-chunked" not in headers.get("content-encoding", ""):
        return body
    chunks: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].partition(b";")[0], 16)
        if not size:
            return b"".join(chunks)
        chunks.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size
