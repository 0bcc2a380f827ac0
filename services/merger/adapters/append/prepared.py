"""A new content of which only the end is ours to make."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from contracts.segments import Destination
from services.merger.adapters.append.assembly import Assembly, Stores
from services.merger.adapters.append.ends import NewEnd
from services.merger.adapters.key_column import Range
from services.merger.core.append import Way
from services.merger.ports import AtHand
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
    key_range: Range | None = None
    at_hand_bytes: int = 0
    """How much of a longer end stays at hand; 0 where nobody asks for it."""
    written: ObjectInfo | None = None
    at_hand: AtHand | None = None

    @property
    def strategy(self) -> str:
        """See the port."""
        return self.way.value

    @property
    def size(self) -> int:
        """Bytes of the new object; an estimate until it is put, where the end is made while it is sent."""
        return self.end.size if self.written is None else self.written.size

    async def put(self, metadata: Mapping[str, str]) -> ObjectInfo:
        """See the port."""
        sent: deque[bytes] = deque()
        size = self.end.kept
        try:
            async with Assembly(self.stores, self.destination, self.base, metadata) as assembly:
                if self.source is not None:
                    await assembly.keep(self.source, self.end.kept)
                async for body in self.end.bodies():
                    await assembly.add(body)
                    size += len(body)
                    if self.at_hand_bytes and body:
                        sent.append(body)
                    while len(sent) > 1 and sum(map(len, sent)) > self.at_hand_bytes:
                        sent.popleft()
                self.at_hand = self._at_hand(size, b"".join(sent))
                self.written = await assembly.finish()
        finally:
            pa.default_memory_pool().release_unused()  # a merge is over: an idle merger should be small again
        return self.written

    def _at_hand(self, size: int, body: bytes) -> AtHand | None:
        if not self.at_hand_bytes:
            return None
        return AtHand(size - len(body), body, self.end.kept, None if self.source is None else self.source.etag)
