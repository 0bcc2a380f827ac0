"""A new content of which only the end is ours to make."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from contracts.segments import Destination
from services.merger.adapters.append.assembly import Assembly, Stores
from services.merger.adapters.append.ends import NewEnd
from services.merger.core.append import Way
from services.runtime.objects import ObjectInfo


@dataclass(slots=True)
class PreparedAppend:
    """The beginning of ``source`` and an end, to take the place of ``base``."""

    stores: Stores
    destination: Destination
    base: ObjectInfo | None
    source: ObjectInfo | None
    end: NewEnd
    way: Way
    total_rows: int
    max_cursor: str | None
    written: ObjectInfo | None = None

    @property
    def strategy(self) -> str:
        """See the port."""
        return self.way.value

    @property
    def size(self) -> int:
        """Bytes of the new object; an estimate until it is put, where the end is made while it is sent."""
        return self.end.size if self.written is None else self.written.size

    @property
    def keys(self) -> pa.ChunkedArray | None:
        """None: to know the key of every row, the beginning had to be read."""
        return None

    async def put(self, metadata: Mapping[str, str]) -> ObjectInfo:
        """See the port."""
        try:
            async with Assembly(self.stores, self.destination, self.base, metadata) as assembly:
                if self.source is not None:
                    await assembly.keep(self.source, self.end.kept)
                async for body in self.end.bodies():
                    await assembly.add(body)
                self.written = await assembly.finish()
        finally:
            pa.default_memory_pool().release_unused()  # a merge is over: an idle merger should be small again
        return self.written
