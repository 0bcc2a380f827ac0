"""The object store: S3 as the services see it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Protocol

from contracts.segments import Occurrence
from services.runtime.failures import PermanentError

IF_ABSENT = "*"
"""Condition of a put that must create the object."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an object: ``length`` of them from ``offset``, or the last ``length`` where that is None."""

    offset: int | None
    length: int

    def of(self, body: bytes) -> bytes:
        """These bytes of a whole object."""
        start = max(len(body) - self.length, 0) if self.offset is None else self.offset
        return body[start : start + self.length]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object; ``version_id`` is None in a bucket that keeps no versions."""

    key: str
    etag: str
    size: int
    version_id: str | None = None
    last_modified: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes together with what identifies them."""

    body: bytes
    info: ObjectInfo


class ObjectStore(Protocol):
    """Whole-object reads and conditional writes.

    Every method raises AccessDeniedError, MissingObjectError (also for a missing bucket, which the text names) or
    UnreachableError where they apply. ETags are without quotes.
    """

    async def get(
        self, bucket: str, key: str, *, version_id: str | None = None, span: Span | None = None
    ) -> StoredObject:
        """Read an object, or one version of it, or some of its bytes; ``info.size`` is the whole object's.

        A span that goes beyond the object's end gives what there is.
        """
        ...

    async def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """What is there now, or None."""
        ...

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
        """Write an object, a file from where it starts. ``if_match`` is the ETag it must replace, or IF_ABSENT.

        A put whose answer was lost is reported as a ConflictError by the store; the caller, who stamped the
        object, resolves it by reading it back.

        Raises:
            ConflictError: the condition does not hold; nothing was written.
        """
        ...

    def list(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every current object under a prefix, in key order."""
        ...

    def list_versions(self, bucket: str, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Every version of every object under a prefix; delete markers are left out.

        In a bucket that keeps no versions this is the same as ``list``.
        """
        ...

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; removing what is not there is no error."""
        ...


class BulkReader(Protocol):
    """Reads many small objects at once; the hot path of the validator."""

    async def read_many(self, occurrences: Sequence[Occurrence], *, in_flight: int) -> list[bytes | PermanentError]:
        """The bytes of each occurrence, in order, each pinned to its version (or its ETag).

        A missing or replaced object is a MissingObjectError *in* the list; the others are read all the same.

        Raises:
            AccessDeniedError: the store refused one of them; an operator must act.
            UnreachableError: the store did not answer after the client's retries.
        """
        ...
