"""Objects put together from parts: ranges of what is there already, copied by the store itself, and new bytes.

The completion is a compare-and-swap on the ETag that was read, and is decided by the metadata given at the beginning:
an object that carries exactly this metadata is this upload's, whatever became of the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Protocol

from services.runtime.failures import MalformedError
from services.runtime.objects import ObjectInfo

MIB = 1 << 20
PART_MIN = 5 * MIB
"""Bytes that S3 demands of every part but the last."""
PART_MAX = 5 * 1024 * MIB
"""Most bytes of one part."""
PARTS_MAX = 10_000
"""Parts of one upload, numbered from 1."""
COPY_MIN = 10 * MIB
"""Fewest bytes worth a copy of their own, where there are that many."""
COPY_MAX = 256 * MIB
"""Most bytes of one copy: S3 answers a copy when it is done, and a client waits for an answer for a minute."""
IN_FLIGHT = 8
"""Parts sent or copied side by side."""

_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun; ``metadata`` is that of the object it will be.

    ``metadata`` is empty where the upload was found by ``abandoned``: the store does not tell it, and such an upload
    is there to be aborted.
    """

    bucket: str
    key: str
    upload_id: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Where the object will be, for texts."""
        return f"s3://{self.bucket}/{self.key}"

    def made(self, standing: ObjectInfo | None, *, if_match: str) -> bool:
        """Whether the object that is there now is this upload's, which was to replace ``if_match``."""
        # What was to be replaced may carry the same commit: of an earlier attempt at it.
        return (
            standing is not None
            and standing.etag != if_match
            and bool(self.metadata)
            and dict(standing.metadata) == dict(self.metadata)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One part that the store holds, ``size`` in bytes."""

    number: int
    etag: str
    size: int


class MultipartStore(Protocol):
    """Reads ranges, and replaces an object by one made of parts.

    Every method raises AccessDeniedError, MissingObjectError (of a bucket), TemporaryError (a busy store) and
    UnreachableError where they apply. Ranges are ``[start, end)`` in bytes, ETags without quotes.
    """

    async def read_range(
        self, bucket: str, key: str, start: int, end: int, *, if_match: str, version_id: str | None = None
    ) -> bytes:
        """Exactly the bytes from ``start`` up to ``end`` of the object, or of one version of it.

        Raises:
            ConflictError: the object has another ETag than ``if_match``, or is gone.
            MalformedError: the range is none, or goes beyond the object's end.
        """
        ...

    async def begin(self, bucket: str, key: str, *, metadata: Mapping[str, str], content_type: str) -> Upload:
        """Begin an upload. An object's encryption, type and metadata are settled here: parts inherit nothing.

        Begin after having read what is to be replaced: S3 refuses to complete over an object that is younger than
        the upload. ``metadata`` must tell this upload from every other one, such as by a commit's id: the outcome of
        a completion is read from it.

        Raises:
            MalformedError: there is no metadata, or the store would not give it back as it is (names are lower case,
                values printable ASCII without spaces around them).
        """
        ...

    async def copy_part(self, upload: Upload, number: int, source: ObjectInfo, start: int, end: int) -> Part:
        """Copy a range of an object of the same bucket inside the store; ``source`` names ETag and version.

        A version that was replaced since is copied all the same; the completion finds out.

        Raises:
            ConflictError: what is there is not ``source`` any more, or the upload is gone.
            MalformedError: the range is none, goes beyond ``source`` or is larger than PART_MAX; or the number is
                not one of 1 to PARTS_MAX.
        """
        ...

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        """Send a part. Sending one again with the same number replaces it.

        Raises:
            ConflictError: the upload is gone.
            MalformedError: it is empty or larger than PART_MAX; or the number is not one of 1 to PARTS_MAX.
        """
        ...

    async def complete(self, upload: Upload, parts: Sequence[Part], *, if_match: str) -> ObjectInfo:
        """Make the parts, in the order of their numbers, the object; ``if_match`` is the ETag it must replace.

        With IF_ABSENT in its place there must be no object. A refusal or a missing answer is believed only after
        the object was read: if it carries the metadata of this upload, the completion happened. After any error
        abort the upload before starting over: a request that is late could still arrive.

        Raises:
            ConflictError: the object is another one and not this upload's; or nobody answered and what is there
                is not this upload's. Read again and start over.
            TemporaryError: the store was busy and what is there is not this upload's.
            MalformedError: no parts, two of one number, or one other than the last is smaller than PART_MIN;
                nothing was sent.
            UnreachableError: neither the completion nor the reading of the object was answered.
        """
        ...

    async def abort(self, upload: Upload) -> None:
        """Give an upload up and free its parts; giving up what is completed or gone already is no error."""
        ...

    async def abandoned(self, bucket: str, prefix: str, older_than: datetime) -> list[Upload]:
        """Uploads under a prefix that were begun before a moment and neither completed nor aborted, oldest first."""
        ...


def cuts(start: int, end: int) -> list[tuple[int, int]]:
    """Equal cuts of the range ``[start, end)`` to be copied side by side, in order; none of an empty range.

    They are as many as are copied at once, unless that made them smaller than COPY_MIN or larger than COPY_MAX; they
    differ by at most one byte. A range shorter than COPY_MIN is one cut.
    """
    total = end - start
    if total <= 0:
        return []
    number = max(min(IN_FLIGHT, total // COPY_MIN), -(-total // COPY_MAX), 1)
    edges = [start + total * index // number for index in range(number + 1)]
    return list(pairwise(edges))


def check_metadata(metadata: Mapping[str, str]) -> None:
    """See ``MultipartStore.begin``.

    Raises:
        MalformedError: it would not come back as it was given.
    """
    if not metadata:
        raise MalformedError("an upload needs metadata that tells it from every other one")
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise MalformedError(f"metadata name {name!r} is not lower case, digits, '-', '_' and '.'")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise MalformedError(f"metadata {name} has a value that S3 would change: {value!r}")


def check_range(what: str, start: int, end: int, size: int | None = None) -> None:
    """See ``read_range`` and ``copy_part``; ``size`` is the object's, in bytes, where it is known.

    Raises:
        MalformedError: it is no range of bytes of that object.
    """
    if not 0 <= start < end or (size is not None and end > size):
        of = "" if size is None else f" of an object of {size:,} bytes"
        raise MalformedError(f"{what}: [{start:,}, {end:,}) is no range{of}")


def check_part(what: str, number: int, size: int) -> None:
    """See ``copy_part`` and ``put_part``; ``size`` in bytes.

    Raises:
        MalformedError: no store would take it.
    """
    if not 1 <= number <= PARTS_MAX:
        raise MalformedError(f"{what}: part number {number:,} is not one of 1 to {PARTS_MAX:,}")
    if not 0 < size <= PART_MAX:
        raise MalformedError(f"{what}: part {number} of {size:,} bytes is not one of 1 to {PART_MAX:,} bytes")


def in_order(upload: Upload, parts: Sequence[Part], *, smallest: int = PART_MIN) -> list[Part]:
    """The parts of a completion by number; ``smallest`` is in bytes, of all but the last.

    Raises:
        MalformedError: S3 would refuse them.
    """
    ordered = sorted(parts, key=lambda part: part.number)
    if not ordered:
        raise MalformedError(f"{upload.uri}: an upload of no parts")
    for part, following in pairwise(ordered):
        if part.number == following.number:
            raise MalformedError(f"{upload.uri}: two parts have number {part.number}")
        if part.size < smallest:
            raise MalformedError(
                f"{upload.uri}: part {part.number} has {part.size:,} bytes and is not the last; "
                f"all others need {smallest:,}"
            )
    return ordered
