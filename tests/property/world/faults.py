"""What befalls one process: where it dies, which answers it never gets, and when it is its turn."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from tests.fakes.effects import KilledError
from tests.fakes.network import NetworkFaultError

T = TypeVar("T")


class Blow(Enum):
    """What happens at one side effect of a process."""

    KILL_BEFORE = auto()
    KILL_AFTER = auto()
    REQUEST_LOST = auto()
    ANSWER_LOST = auto()
    REPEATED = auto()
    """It happened, the answer was lost, and the SDK sent it again."""


@dataclass(frozen=True)
class Strike:
    """A blow at the n-th exchange of a process with the world, counted from 1."""

    blow: Blow
    at: int


class Turnstile:
    """Parks every exchange of several processes, so that one at a time goes on, in an order the test decides."""

    def __init__(self) -> None:
        self._parked: dict[str, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()

    async def wait(self, name: str) -> None:
        """Stand here until it is this process's turn."""
        self._parked[name] = asyncio.get_running_loop().create_future()
        self._changed.set()
        await self._parked[name]

    async def run(self, work: Sequence[tuple[str, Coroutine[Any, Any, T]]], order: Iterator[int]) -> list[T]:
        """Run named work to its end; ``order`` says whose turn it is next, as a position among those who wait."""
        tasks = {name: asyncio.ensure_future(job) for name, job in work}
        for task in tasks.values():
            task.add_done_callback(lambda _: self._changed.set())
        while True:
            running = [name for name, task in tasks.items() if not task.done()]
            if not running:
                break
            if all(name in self._parked for name in running):
                waiting = sorted(self._parked)
                self._parked.pop(waiting[next(order, 0) % len(waiting)]).set_result(None)
            self._changed.clear()
            if any(name not in self._parked and not tasks[name].done() for name in running):
                await self._changed.wait()
        return [tasks[name].result() for name, _ in work]


class Line:
    """``Network`` of one process: every exchange of it, through whichever fake, in one count."""

    def __init__(
        self,
        strike: Strike | None = None,
        *,
        name: str = "",
        turnstile: Turnstile | None = None,
        at_place: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.exchanges = 0
        self.dead = False
        self._strike = strike
        self._name = name
        self._turnstile = turnstile
        self._at_place = at_place

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See the Protocol; a dead process exchanges nothing more, whatever its ``finally`` blocks try."""
        if self._turnstile is not None:
            await self._turnstile.wait(self._name)
        if self.dead:
            raise KilledError("dead before another exchange")
        self.exchanges += 1
        place = self.exchanges
        if self._at_place is not None:
            await self._at_place(place)
        blow = self._strike.blow if self._strike is not None and self._strike.at == place else None
        if blow is Blow.KILL_BEFORE:
            self._die(place)
        if blow is Blow.REQUEST_LOST:
            raise NetworkFaultError("request lost")
        answer = await effect()
        if blow is Blow.KILL_AFTER:
            self._die(place)
        if blow is Blow.ANSWER_LOST:
            raise NetworkFaultError("answer lost")
        return await effect() if blow is Blow.REPEATED else answer

    def _die(self, place: int) -> None:
        self.dead = True
        raise KilledError(f"killed at exchange {place}")
