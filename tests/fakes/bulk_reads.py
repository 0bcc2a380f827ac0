"""Bulk reads over the fake object store."""

from collections.abc import Sequence

from contracts.segments import Occurrence
from services.runtime.failures import MissingObjectError, PermanentError
from services.runtime.objects import ObjectStore


class FakeBulkReader:
    """``BulkReader`` that reads one object after the other; refusals are the store's own."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def read_many(self, occurrences: Sequence[Occurrence], *, in_flight: int) -> list[bytes | PermanentError]:
        """The bytes of each occurrence, in order; missing and replaced ones are errors in the list."""
        if in_flight < 1:
            raise ValueError("in_flight must be at least 1")
        return [await self._read(occurrence) for occurrence in occurrences]

    async def _read(self, occurrence: Occurrence) -> bytes | PermanentError:
        try:
            found = await self._objects.get(occurrence.bucket, occurrence.key, version_id=occurrence.version_id)
        except MissingObjectError as error:
            return error
        if not occurrence.version_id and found.info.etag != occurrence.etag:
            return MissingObjectError(f"{occurrence.uri} was replaced since ETag {occurrence.etag}")
        return found.body
