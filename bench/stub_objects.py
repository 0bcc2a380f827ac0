"""The objects of the S3 stub: versions in memory, with every answer about them rendered when they are written."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import md5
from itertools import islice
from urllib.parse import quote
from xml.sax.saxutils import escape

from bench.stub_rope import Rope

_ANY = "*"
_LARGE = 2**20


@dataclass(frozen=True, slots=True)
class StubVersion:
    """One version of an object and the parts of the answers that name it."""

    key: str
    version_id: str
    etag: str
    body: Rope
    headers: str
    answer: bytes
    """The whole answer to a GET, empty for a large object."""
    entry: str
    """Elements of a listing that hold for every listing: time, ETag, size and class."""

    def whole(self) -> bytes:
        """The whole answer to a GET; of a large object it is made each time, so that memory holds it once."""
        return self.answer or _whole(self.headers, bytes(self.body))


@dataclass(slots=True)
class StubBucket:
    """Keys in order, each with its versions, oldest first."""

    keys: list[str] = field(default_factory=list)
    versions: dict[str, list[StubVersion]] = field(default_factory=dict)


class PreconditionError(Exception):
    """The condition of a put does not hold."""


class StubObjects:
    """Every bucket exists and keeps versions, all of them or so many. A removal forgets the key with all of them."""

    def __init__(self, most_versions: int | None = None) -> None:
        self._most_versions = most_versions
        self._buckets: dict[str, StubBucket] = {}
        self._written = 0

    def put(
        self, bucket: str, key: str, body: bytes | Rope, *, headers: Mapping[str, str] | None = None
    ) -> StubVersion:
        """Add a version; ``headers`` are the request's, with names in lower case.

        Raises:
            PreconditionError: If-Match or If-None-Match does not hold.
        """
        headers = headers or {}
        home = self._buckets.setdefault(bucket, StubBucket())
        current = self.find(bucket, key)
        wanted = headers.get("if-match")
        if wanted is not None and (current is None or wanted.strip('"') not in {current.etag, _ANY}):
            raise PreconditionError
        if headers.get("if-none-match") == _ANY and current is not None:
            raise PreconditionError
        self._written += 1
        rope = body if isinstance(body, Rope) else Rope([body])
        version = _version(key, f"v{self._written:09d}", rope, headers)
        if current is None:
            insort(home.keys, key)
            home.versions[key] = [version]
        else:
            home.versions[key].append(version)
        if self._most_versions is not None:
            del home.versions[key][: -self._most_versions]
        return version

    def find(self, bucket: str, key: str, version_id: str | None = None) -> StubVersion | None:
        """The current version, or the one named."""
        home = self._buckets.get(bucket)
        versions = home.versions.get(key) if home else None
        if not versions:
            return None
        if version_id is None:
            return versions[-1]
        return next((version for version in versions if version.version_id == version_id), None)

    def delete(self, bucket: str, key: str) -> None:
        """Forget a key."""
        home = self._buckets.get(bucket)
        if home and home.versions.pop(key, None):
            home.keys.pop(bisect_left(home.keys, key))

    def page(self, bucket: str, prefix: str, after: str, limit: int) -> tuple[list[list[StubVersion]], bool]:
        """The versions of up to ``limit`` keys greater than ``after``, and whether more follow."""
        home = self._buckets.get(bucket) or StubBucket()
        start = max(bisect_left(home.keys, prefix), bisect_right(home.keys, after) if after else 0)
        keys: list[str] = []
        for key in islice(home.keys, start, None):
            if not key.startswith(prefix):
                break
            if len(keys) == limit:
                return [home.versions[key] for key in keys], True
            keys.append(key)
        return [home.versions[key] for key in keys], False


def _version(key: str, version_id: str, body: Rope, request: Mapping[str, str]) -> StubVersion:
    # A digest of a large body would take longer than what is measured; a tag only has to be the write's own.
    tagged = bytes(body) if len(body) <= _LARGE else version_id.encode()
    etag = md5(tagged, usedforsecurity=False).hexdigest()
    now = datetime.now(UTC)
    kept = [(name, value) for name, value in request.items() if name.startswith("x-amz-meta-")]
    headers = "".join(
        f"{name}: {value}\r\n"
        for name, value in (
            ("ETag", f'"{etag}"'),
            ("Last-Modified", format_datetime(now, usegmt=True)),
            ("x-amz-version-id", version_id),
            ("Content-Type", request.get("content-type", "binary/octet-stream")),
            ("Accept-Ranges", "bytes"),
            *kept,
        )
    )
    entry = (
        f"<LastModified>{now:%Y-%m-%dT%H:%M:%S}.000Z</LastModified><ETag>&quot;{etag}&quot;</ETag>"
        f"<Size>{len(body)}</Size><StorageClass>STANDARD</StorageClass>"
    )
    answer = _whole(headers, bytes(body)) if len(body) <= _LARGE else b""
    return StubVersion(key, version_id, etag, body, headers, answer, entry)


def _whole(headers: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def list_objects(objects: StubObjects, bucket: str, query: Mapping[str, str]) -> str:
    """The body of a ListObjectsV2 answer."""
    prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
    named = _namer(query)
    pages, more = objects.page(bucket, prefix, after, int(query.get("max-keys", "1000")))
    entries = "".join(f"<Contents><Key>{named(v[-1].key)}</Key>{v[-1].entry}</Contents>" for v in pages)
    token = f"<NextContinuationToken>{escape(pages[-1][-1].key)}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult>{_frame(bucket, prefix, query, more=more)}<KeyCount>{len(pages)}</KeyCount>"
        f"{token}{entries}</ListBucketResult>"
    )


def list_versions(objects: StubObjects, bucket: str, query: Mapping[str, str]) -> str:
    """The body of a ListObjectVersions answer; a page ends only between keys."""
    prefix, after = query.get("prefix", ""), query.get("key-marker", "")
    named = _namer(query)
    pages, more = objects.page(bucket, prefix, after, int(query.get("max-keys", "1000")))
    entries = "".join(
        f"<Version><Key>{named(v.key)}</Key><VersionId>{v.version_id}</VersionId>"
        f"<IsLatest>{'true' if v is versions[-1] else 'false'}</IsLatest>{v.entry}</Version>"
        for versions in pages
        for v in reversed(versions)
    )
    token = f"<NextKeyMarker>{named(pages[-1][-1].key)}</NextKeyMarker>" if more else ""
    return f"<ListVersionsResult>{_frame(bucket, prefix, query, more=more)}{token}{entries}</ListVersionsResult>"


def _namer(query: Mapping[str, str]) -> Callable[[str], str]:
    return quote if query.get("encoding-type") == "url" else escape


def _frame(bucket: str, prefix: str, query: Mapping[str, str], *, more: bool) -> str:
    encoding = f"<EncodingType>{query['encoding-type']}</EncodingType>" if "encoding-type" in query else ""
    return (
        f"<Name>{escape(bucket)}</Name><Prefix>{_namer(query)(prefix)}</Prefix>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{encoding}"
    )
