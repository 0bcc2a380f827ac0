"""What the suite of multipart uploads needs of a backend."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from services.runtime.multipart import PART_MIN, MultipartStore, Part, Upload
from services.runtime.objects import ObjectInfo, ObjectStore
from tests.fakes.network import Network, NetworkFaultError, ScriptedNetwork

T = TypeVar("T")
OLD = b"".join(b"%07d\n" % number for number in range(PART_MIN // 8)) + b"and a tail that is rewritten"
"""An object of which everything but the last 28 bytes is kept."""
KEPT = PART_MIN
NEW = b"the rows that are new"
TYPE = "application/vnd.apache.parquet"
PAST, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bench:
    """A store; the same over a bad network, and as one who may not use it; a bucket of either kind; a key."""

    objects: ObjectStore
    store: MultipartStore
    faulty: MultipartStore
    network: ScriptedNetwork
    denied: MultipartStore
    versioned: str
    plain: str
    key: str
    content_type: Callable[[str, str], Awaitable[str]]
    over: Callable[[Network], MultipartStore]
    """The store as it is reached over another network."""

    async def old(self, bucket: str) -> ObjectInfo:
        """Put the object that is to be replaced."""
        return await self.objects.put(bucket, self.key, OLD, metadata={"commit": "old"})

    async def begin(self, bucket: str, commit: str = "new") -> Upload:
        """Begin an upload that carries this commit."""
        return await self.store.begin(bucket, self.key, metadata={"commit": commit}, content_type=TYPE)

    async def filled(self, bucket: str, source: ObjectInfo, commit: str = "new") -> tuple[Upload, list[Part]]:
        """An upload that keeps the start of ``source`` and ends in new bytes, ready to be completed."""
        upload = await self.begin(bucket, commit)
        kept = await self.store.copy_part(upload, 1, source, 0, KEPT)
        return upload, [kept, await self.store.put_part(upload, 2, NEW + commit.encode())]

    async def commit_of(self, bucket: str) -> str | None:
        """The commit that the object of now carries."""
        head = await self.objects.head(bucket, self.key)
        return head.metadata["commit"] if head else None

    async def pending(self, bucket: str) -> list[Upload]:
        """The uploads of the key that nobody completed or aborted."""
        return await self.store.abandoned(bucket, self.key, FUTURE)


class OvertakenNetwork(ScriptedNetwork):
    """The answer of the next exchange is lost, and before the caller knows, somebody else acts."""

    def __init__(self, act: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._act: Callable[[], Awaitable[object]] | None = act

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See ``Network``."""
        answer = await super().carry(effect)
        if self._act is None:
            return answer
        act, self._act = self._act, None
        await act()
        raise NetworkFaultError("answer lost")
