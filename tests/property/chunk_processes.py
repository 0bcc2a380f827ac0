"""Processes of the chunk work that stand still where a story wants them to, and what none of them may ever do."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from contracts.envelope import Payload
from services.chunk_worker.ports import Claimed, Ports, Updated, Work
from services.runtime.deliveries import Outcome
from services.runtime.failures import PermanentError
from tests.fakes.chunk_tables import FakeChunkTables, Key
from tests.fakes.effects import KilledError
from tests.fakes.network import NetworkFaultError
from tests.property.world.faults import Blow

T = TypeVar("T")


class Way:
    """``Network`` of one process: it may make so many exchanges, and then stands still until it is let go on."""

    def __init__(self, steps: float = math.inf) -> None:
        self.steps = steps
        self.exchanges = 0
        self.dead = False
        self.blow: Blow | None = None
        self.standing: asyncio.Future[None] | None = None

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See the Protocol; a dead process exchanges nothing more, whatever its ``finally`` blocks try."""
        while self.steps <= 0 and not self.dead:
            self.standing = asyncio.get_running_loop().create_future()
            await self.standing
        self.check("before an exchange")
        self.steps -= 1
        self.exchanges += 1
        blow, self.blow = self.blow, None
        if blow is Blow.KILL_BEFORE:
            self._die()
        if blow is Blow.REQUEST_LOST:
            raise NetworkFaultError("request lost")
        answer = await effect()
        if blow is Blow.KILL_AFTER:
            self._die()
        if blow is Blow.ANSWER_LOST:
            raise NetworkFaultError("answer lost")
        return await effect() if blow is Blow.REPEATED else answer

    def check(self, place: str) -> None:
        """Be the hook of its effects."""
        if self.dead:
            raise KilledError(f"dead {place}")

    def go(self, steps: float, blow: Blow | None) -> None:
        """Go on from where it stands, which is where the blow hits it."""
        self.steps, self.blow = steps, blow
        if self.standing is not None and not self.standing.done():
            self.standing.set_result(None)
        self.standing = None

    def _die(self) -> None:
        self.dead = True
        raise KilledError(f"killed at exchange {self.exchanges}")


@dataclass(eq=False)
class Letter:
    """A message of a queue."""

    queue: str
    body: str
    due: float
    receives: int = 0


@dataclass
class Process:
    """One process with a message in its hands."""

    way: Way
    letter: Letter
    receives: int
    task: "asyncio.Task[Outcome]"


@dataclass
class Watch:
    """What is known of all workers."""

    poisoned: set[Key] = field(default_factory=set)
    """Keys that cannot be worked on."""
    claims: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Tokens that have claimed each chunk of each run."""


class Watched(FakeChunkTables):
    """Notices what no worker may ever do; ``inner`` may be bent."""

    def __init__(self, watch: Watch, inner: FakeChunkTables, *, parked: bool) -> None:
        super().__init__(inner.database, effects=inner.effects)
        self._watch = watch
        self._inner = inner
        self._parked = parked

    async def claim(self, work: Work, *, mark: bool) -> Claimed | None:
        """See the port."""
        assert not self._parked, f"chunk {work.chunk_id} is begun although its run is paused"
        claimed = await self._inner.claim(work, mark=mark)
        if claimed is not None:
            self._watch.claims.setdefault((work.run_id, work.chunk_id), []).append(work.token)
        return claimed

    async def update(self, work: Work) -> Updated | None:
        """See the port."""
        if {key.values for key in self.database.keys_of(work)} & self._watch.poisoned:
            raise PermanentError("division by zero")
        updated = await self._inner.update(work)
        if updated is not None:
            newest = max(self._watch.claims[work.run_id, work.chunk_id])
            assert work.token == newest, f"chunk {work.chunk_id}: {work.token} worked, {newest} has claimed it"
        return updated

    async def blameless(self, work: Work) -> None:
        """See the port."""
        await self._inner.blameless(work)


class Mutation:
    """Bends one mechanism; this one bends nothing."""

    resends_parked = True

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """The database as workers reach it."""
        return tables

    def worker(self, ports: Ports) -> Ports:
        """The ports of a worker."""
        return ports


@dataclass
class Machine:
    """A state machine's execution: task 01, the chunks, and each of them until it is told how it ended."""

    name: str
    run_id: str
    asked: int = 0
    tasks: dict[str, tuple[Payload, int]] = field(default_factory=dict)
    """What is waited for, by token, and how often it was asked for again."""
    results: dict[str, str] = field(default_factory=dict)
    """What each chunk was answered in the end: ``succeeded``, or an error."""
