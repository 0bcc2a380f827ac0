"""The state mirror: a small JSON object that shows people how far a pipeline is. DynamoDB is the truth.

It is written before the watermark moves, so that a watermark without its mirror means that somebody deleted the
mirror on purpose, which starts the pipeline over.
"""

import json

from services.runtime.clock import Clock
from services.runtime.objects import ObjectStore


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

    async def exists(self, location: str) -> bool:
        """Whether the mirror is there."""
        bucket, key = location.split("/", 1)
        return await self._objects.head(bucket, key) is not None
