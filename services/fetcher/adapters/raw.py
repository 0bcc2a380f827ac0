"""Raw objects of records."""

from services.runtime.failures import ConflictError, MalformedError
from services.runtime.objects import IF_ABSENT, ObjectStore

ROWS = "tidegate-rows"
"""Metadata of a raw object: how many rows it holds."""
CONTENT_TYPE = "application/x-ndjson"


class S3RawObjects:
    """``RawObjects`` in an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def rows(self, bucket: str, key: str) -> int | None:
        """See the port; costs one HEAD request."""
        return await rows_in(self._objects, bucket, key)

    async def create(self, bucket: str, key: str, body: bytes, *, rows: int) -> bool:
        """See the port."""
        metadata = {ROWS: str(rows)}
        try:
            await self._objects.put(bucket, key, body, if_match=IF_ABSENT, metadata=metadata, content_type=CONTENT_TYPE)
        except ConflictError:
            return False
        return True


async def rows_in(objects: ObjectStore, bucket: str, key: str) -> int | None:
    """Rows of the raw object that is there, or None; costs one HEAD request.

    Raises:
        MalformedError: there is an object, and no fetcher wrote it.
    """
    found = await objects.head(bucket, key)
    if found is None:
        return None
    text = found.metadata.get(ROWS, "")
    if not (text.isascii() and text.isdigit()):
        raise MalformedError(f"s3://{bucket}/{key} is there and no fetcher wrote it: its {ROWS} is {text!r}")
    return int(text)
