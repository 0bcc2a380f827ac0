"""The way between a caller and a backend, where requests and answers get lost, late or repeated.

One ``Network`` serves the fakes and, through ``NetworkedClient``, the real clients, so that both meet the same
faults at the same calls.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from botocore.exceptions import ReadTimeoutError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_secretsmanager import SecretsManagerClient

T = TypeVar("T")


class NetworkFaultError(Exception):
    """The caller got no answer; it cannot know whether the backend did anything."""


class Network(Protocol):
    """Carries one exchange at a time from a caller to a backend and back."""

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Perform the effect at the backend and return its answer, or raise what the caller would see."""
        ...


class Fate(Enum):
    """What becomes of an exchange."""

    DELIVERED = auto()
    REQUEST_LOST = auto()
    """Nothing happened at the backend and the call fails."""
    ANSWER_LOST = auto()
    """It happened and the call fails."""
    REPEATED = auto()
    """It happened, the answer was lost, and the SDK sent it again: the caller sees the second answer."""


class ScriptedNetwork:
    """Follows a script: the first fate for the next call, and so on; delivers when the script has run out."""

    def __init__(self) -> None:
        self.carried = 0
        self._script: deque[Fate] = deque()

    def next(self, *fates: Fate) -> None:
        """Append to the script."""
        self._script.extend(fates)

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See the Protocol."""
        self.carried += 1
        fate = self._script.popleft() if self._script else Fate.DELIVERED
        if fate is Fate.REQUEST_LOST:
            raise NetworkFaultError("request lost")
        answer = await effect()
        if fate is Fate.ANSWER_LOST:
            raise NetworkFaultError("answer lost")
        return await effect() if fate is Fate.REPEATED else answer


class Passage(Enum):
    """What a test decides for a parked exchange."""

    PASS = auto()
    LOSE = auto()
    DELAY = auto()
    """The caller gives up; the request arrives when ``land`` is called. An answer that is delayed is lost."""


async def arrive(effect: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":
    """Let a request happen at the backend; its answer, or refusal, waits in the future and may be left there."""
    happening = asyncio.ensure_future(effect())
    await asyncio.wait({happening})
    if not happening.cancelled():
        happening.exception()  # looked at, so that asyncio does not report what nobody was meant to hear
    return happening


class GatedNetwork:
    """Parks every exchange twice, before and after its effect, until the test decides how it goes on."""

    def __init__(self) -> None:
        self._parked: asyncio.Future[Passage] | None = None
        self._reached = asyncio.Event()
        self.late: list[Callable[[], Awaitable[object]]] = []

    @property
    def parked(self) -> bool:
        """Whether an exchange is waiting for a decision."""
        return self._parked is not None

    async def reached(self) -> None:
        """Wait until an exchange is parked."""
        await self._reached.wait()

    def decide(self, passage: Passage) -> None:
        """Let the parked exchange go on."""
        if self._parked is None:
            raise LookupError("no exchange is parked")
        parked, self._parked = self._parked, None
        self._reached.clear()
        parked.set_result(passage)

    def forget(self) -> None:
        """The process died: what it had sent stays in ``late``, and nobody waits at the gate any more."""
        self._parked = None
        self._reached.clear()

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See the Protocol."""
        request = await self._park()
        if request is Passage.DELAY:
            self.late.append(effect)
        if request is not Passage.PASS:
            raise NetworkFaultError("no answer")
        happening = await arrive(effect)
        if await self._park() is not Passage.PASS:
            raise NetworkFaultError("no answer")
        return happening.result()

    async def _park(self) -> Passage:
        self._parked = asyncio.get_running_loop().create_future()
        self._reached.set()
        return await self._parked


class NetworkedClient:
    """A real client behind a ``Network``: every operation is carried, and a fault looks as botocore shows it."""

    def __init__(self, client: object, network: Network) -> None:
        self._client = client
        self._network = network

    def as_dynamodb(self) -> "DynamoDBClient":
        """This client under the type whose operations it stands for."""
        return cast("DynamoDBClient", self)

    def as_secretsmanager(self) -> "SecretsManagerClient":
        """This client under the type whose operations it stands for."""
        return cast("SecretsManagerClient", self)

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[object]]:
        method: Callable[..., Awaitable[object]] = getattr(self._client, operation)

        async def call(**arguments: object) -> object:
            try:
                return await self._network.carry(lambda: method(**arguments))
            except NetworkFaultError as fault:
                raise ReadTimeoutError(endpoint_url=f"test://{operation}", error=fault) from fault

        return call
