"""Raw objects of typed rows: landing files."""

from typing import BinaryIO

from services.fetcher.adapters.raw import ROWS, rows_in
from services.runtime.failures import ConflictError
from services.runtime.objects import IF_ABSENT, ObjectStore

CONTENT_TYPE = "application/octet-stream"


class S3LandingObjects:
    """``LandingObjects`` in an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def rows(self, bucket: str, key: str) -> int | None:
        """See the port; costs one HEAD request."""
        return await rows_in(self._objects, bucket, key)

    async def create(self, bucket: str, key: str, file: BinaryIO, *, rows: int) -> bool:
        """See the port; the file is sent as it is read."""
        metadata = {ROWS: str(rows)}
        try:
            await self._objects.put(bucket, key, file, if_match=IF_ABSENT, metadata=metadata, content_type=CONTENT_TYPE)
        except ConflictError:
            return False
        return True
