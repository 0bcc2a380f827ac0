"""The state mirror: a small JSON object that shows people how far a pipeline is. DynamoDB is the truth.

It is written before the watermark moves, so that a watermark without its mirror means that somebody deleted the
mirror on purpose, which starts the pipeline over.
"""

import json
from typing import Any

from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, MalformedError
from services.runtime.objects import IF_ABSENT, ObjectStore

ATTEMPTS = 20
"""Times a shared document is read and written again when others wrote it meanwhile."""


class StateMirrors:
    """Mirrors in an object store; ``location`` is ``{bucket}/{key}``."""

    def __init__(self, objects: ObjectStore, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock

    async def write(self, location: str, cursor: str | None) -> None:
        """Show that rows up to this cursor are merged, as of now."""
        document = {"last_run_timestamp": cursor, "updated_at": self._clock.now().isoformat()}
        bucket, key = location.split("/", 1)
        await self._objects.put(bucket, key, json.dumps(document).encode(), content_type="application/json")

    async def write_entity(self, location: str, entity: str, cursor: str, records: int) -> None:
        """Show how far one of several entities is, in the document that they share.

        Raises:
            ConflictError: others kept writing it meanwhile.
            MalformedError: what lies there is not such a document.
        """
        bucket, key = location.split("/", 1)
        for _ in range(ATTEMPTS):
            entry = {
                "last_sync_timestamp": cursor,
                "record_count": records,
                "updated_at": self._clock.now().isoformat(),
            }
            document, etag = await self._shared(bucket, key)
            body = json.dumps(dict(sorted((document | {entity: entry}).items())), indent=2).encode()
            try:
                await self._objects.put(bucket, key, body, if_match=etag or IF_ABSENT, content_type="application/json")
            except ConflictError:
                continue
            return
        raise ConflictError(f"s3://{location}: others wrote it {ATTEMPTS} times while it was read")

    async def write_log(self, location: str, text: str) -> None:
        """Leave the log of a run."""
        bucket, key = location.split("/", 1)
        await self._objects.put(bucket, key, text.encode(), content_type="text/plain; charset=utf-8")

    async def _shared(self, bucket: str, key: str) -> tuple[dict[str, Any], str | None]:
        if await self._objects.head(bucket, key) is None:
            return {}, None
        stored = await self._objects.get(bucket, key)
        try:
            document = json.loads(stored.body)
        except ValueError as error:
            raise MalformedError(f"s3://{bucket}/{key} is not JSON: {error}; remove it to start it anew") from error
        if not isinstance(document, dict):
            raise MalformedError(f"s3://{bucket}/{key} is not a JSON object; remove it to start it anew")
        return document, stored.info.etag

    async def exists(self, location: str) -> bool:
        """Whether the mirror is there."""
        bucket, key = location.split("/", 1)
        return await self._objects.head(bucket, key) is not None
