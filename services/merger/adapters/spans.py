"""Reads of a stored file only what is needed: its end, and spans of one and the same version of it."""

import io
from dataclasses import dataclass

from services.runtime.failures import ConflictError, MissingObjectError
from services.runtime.objects import ObjectInfo, ObjectStore, Span, StoredObject

_TRAILER_BYTES = 8
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read, in bytes; other sizes than these are for tests."""

    whole: int = MIB
    """Files up to this size are read in one request; of larger ones the footer, then the columns that are needed."""
    footer: int = 64 * 1024
    """Read of a file's end, in the hope that its footer lies in it."""
    gap: int = 256 * 1024
    """Between two spans that are wanted: reading it, too, costs less than one more request."""
    span: int = 8 * MIB
    """Beyond this, what is wanted is read in more than one request."""


USUAL = Reading()


class Spans(io.RawIOBase):
    """A file of ``size`` bytes of which some spans are in memory; reading others is an OSError."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._spans: list[tuple[int, bytes]] = []
        self._at = 0

    def add(self, offset: int, body: bytes) -> None:
        """Have the bytes from ``offset`` on."""
        self._spans.append((offset, body))

    def readable(self) -> bool:
        """See ``io.RawIOBase``."""
        return True

    def seekable(self) -> bool:
        """See ``io.RawIOBase``."""
        return True

    def tell(self) -> int:
        """See ``io.RawIOBase``."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See ``io.RawIOBase``."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """See ``io.RawIOBase``."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        for offset, body in self._spans:
            if offset <= self._at and end <= offset + len(body):
                found = body[self._at - offset : end - offset]
                self._at = end
                return found
        raise OSError(f"bytes {self._at} to {end} were not fetched")


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of an object, of which spans are read."""

    objects: ObjectStore
    bucket: str
    info: ObjectInfo

    async def read(self, start: int, end: int) -> bytes:
        """Bytes ``[start, end)``, or fewer where the object ends before.

        Raises:
            ConflictError: that version is not there any more.
        """
        where = f"s3://{self.bucket}/{self.info.key}"
        try:
            found = await self.objects.get(
                self.bucket, self.info.key, version_id=self.info.version_id, span=Span(start, end - start)
            )
        except MissingObjectError as error:
            raise ConflictError(f"{where} went away while it was read") from error
        if found.info.etag != self.info.etag:  # a bucket that keeps no versions answers with what is there now
            raise ConflictError(f"{where} changed while it was read")
        return found.body


def footer_bytes(end: bytes) -> int:
    """Bytes that a Parquet footer takes, trailer included, by the last bytes of its file."""
    return int.from_bytes(end[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES


async def read_end(
    objects: ObjectStore,
    bucket: str,
    key: str,
    size: int | None,
    reading: Reading = USUAL,
    *,
    version_id: str | None = None,
) -> StoredObject:
    """The last bytes of a file of about so many, if that is known: all of a small one, else at least its footer.

    What has no footer there is no Parquet file; whoever parses it will say so.

    Raises:
        ConflictError: it changed between two requests.
        MissingObjectError: it is gone.
    """
    if size is not None and size <= reading.whole:
        return await objects.get(bucket, key, version_id=version_id)
    end = await objects.get(bucket, key, version_id=version_id, span=Span(None, reading.footer))
    needed = footer_bytes(end.body)
    if not len(end.body) < needed <= end.info.size:
        return end
    start = end.info.size - needed
    more = await Pinned(objects, bucket, end.info).read(start, end.info.size - len(end.body))
    return StoredObject(more + end.body, end.info)
