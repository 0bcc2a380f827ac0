"""Mechanisms of the chunk work bent one at a time: each is there for a reason, and somebody must notice its absence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from contracts.chunks import ChunkOutcome
from contracts.envelope import Payload
from contracts.runs import RunState
from services.chunk_worker.core.tasks import DLQ
from services.chunk_worker.ports import Claimed, Ports, TableState, Updated, Work
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.chunk_tables import FakeChunkRow, FakeChunkTables
from tests.fakes.effects import Effects
from tests.fakes.publishing import FakePublisher
from tests.property.chunk_processes import Mutation

T = TypeVar("T")
Bend = Callable[[FakeChunkRow, Work], None]


class _Bending(Effects):
    """Effects that first bend the row that they are about, in the same transaction."""

    def __init__(self, effects: Effects, bend: Callable[[], None]) -> None:
        super().__init__()
        self._effects = effects
        self._bend = bend

    async def perform(self, name: str, action: Callable[[], T]) -> T:
        def bent() -> T:
            self._bend()
            return action()

        return await self._effects.perform(name, bent)


class _BentTables(FakeChunkTables):
    """``claims`` and ``updates`` say what is done to the chunk's row before."""

    def __init__(self, tables: FakeChunkTables, *, claims: Bend | None = None, updates: Bend | None = None) -> None:
        super().__init__(tables.database, effects=tables.effects)
        self._claims = claims
        self._updates = updates

    async def claim(self, work: Work, *, mark: bool) -> Claimed | None:
        return await self._with(work, self._claims).claim(work, mark=mark)

    async def update(self, work: Work) -> Updated | None:
        return await self._with(work, self._updates).update(work)

    def _with(self, work: Work, bend: Bend | None) -> FakeChunkTables:
        def happen() -> None:
            row = self.database.chunks.get((work.run_id, work.chunk_id))
            if row is not None and bend is not None:
                bend(row, work)

        return FakeChunkTables(self.database, effects=_Bending(self.effects, happen))


class FenceWithoutToken(Mutation):
    """The fence looks at the chunk's state, and not at who claimed it."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""

        def pretend(row: FakeChunkRow, work: Work) -> None:
            row.token = work.token

        return _BentTables(tables, updates=pretend)


class ClaimOfAnOlderToken(Mutation):
    """A claim succeeds whoever has claimed the chunk before."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""

        def forget(row: FakeChunkRow, work: Work) -> None:
            row.token = min(row.token, work.token)

        return _BentTables(tables, claims=forget)


class DoneByTheRunLedger(Mutation):
    """The database does not keep what is done: whatever the run's ledger does not know as done is worked on."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""

        def reopen(row: FakeChunkRow, _: Work) -> None:
            if row.state is TableState.DONE:
                row.state = TableState.MARKED

        return _BentTables(tables, claims=reopen)


class SplitForgotten(Mutation):
    """A chunk that was split is worked on as a whole when it comes again."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""

        def join(row: FakeChunkRow, _: Work) -> None:
            if row.state is TableState.SPLIT:
                row.state, row.attempts = TableState.MARKED, 0

        return _BentTables(tables, claims=join)


class AttemptsForgotten(Mutation):
    """Each claim is the first."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""

        def forgive(row: FakeChunkRow, _: Work) -> None:
            row.attempts = 0

        return _BentTables(tables, claims=forgive)


class _Blaming(FakeChunkTables):
    async def blameless(self, work: Work) -> None:
        """Nothing is given back."""


class EverybodyBlamed(Mutation):
    """An attempt counts whatever ended it."""

    def tables(self, tables: FakeChunkTables) -> FakeChunkTables:
        """See ``Mutation``."""
        return _Blaming(tables.database, effects=tables.effects)


class ParkedForgotten(Mutation):
    """A run that is resumed is no longer paused, and that is all."""

    resends_parked = False


class _Late(FakeChunkLedger):
    """Enters what is done only when it is told to."""

    def __init__(self, chunks: FakeChunkLedger) -> None:
        super().__init__(chunks.table, chunks._clock, effects=chunks.effects)
        self._late: list[tuple[str, str, ChunkOutcome, int]] = []

    async def chunk_done(self, run_id: str, chunk_id: str, outcome: ChunkOutcome, *, gone: int = 0) -> bool:
        self._late.append((run_id, chunk_id, outcome, gone))
        return True

    async def catch_up(self) -> None:
        """Enter it."""
        for run_id, chunk_id, outcome, gone in self._late:
            await super().chunk_done(run_id, chunk_id, outcome, gone=gone)
        self._late.clear()


class _First(ChunkCompletion):
    """Ends the run, and then lets the last chunk be entered."""

    async def complete(self, job: LoadedJob, run_id: str) -> RunState | None:
        state = await super().complete(job, run_id)
        assert isinstance(self.chunks, _Late)
        await self.chunks.catch_up()
        return state


class CompletionBeforeTheChunk(Mutation):
    """Whoever ends a chunk looks whether the run is over, and then enters the chunk."""

    def worker(self, ports: Ports) -> Ports:
        """See ``Mutation``."""
        assert isinstance(ports.chunks, FakeChunkLedger)
        late, own = _Late(ports.chunks), ports.completion
        completion = _First(own.databases, own.ledger, late, own.publisher)
        return replace(ports, chunks=late, completion=completion)


class _Glossing(FakeChunkLedger):
    async def chunks(self, run_id: str) -> list[ChunkEntry]:
        found = await super().chunks(run_id)
        return [
            replace(entry, state=ChunkState.DONE, updated=entry.rows) if entry.state is ChunkState.FAILED else entry
            for entry in found
        ]


class FailuresGlossedOver(Mutation):
    """A run ends well when each of its chunks has ended, however."""

    def worker(self, ports: Ports) -> Ports:
        """See ``Mutation``."""
        assert isinstance(ports.chunks, FakeChunkLedger)
        glossing = _Glossing(ports.chunks.table, ports.chunks._clock, effects=ports.chunks.effects)
        return replace(ports, completion=replace(ports.completion, chunks=glossing))


class _Losing(FakePublisher):
    async def send(self, queue: str, payloads: Sequence[Payload], *, run_id: str) -> None:
        if queue != DLQ:
            await super().send(queue, payloads, run_id=run_id)


class FailedForgotten(Mutation):
    """The message of a chunk that has failed is deleted."""

    def worker(self, ports: Ports) -> Ports:
        """See ``Mutation``."""
        assert isinstance(ports.publisher, FakePublisher)
        losing = _Losing(ports.clock, effects=ports.publisher.effects)
        losing.sent, losing.facts = ports.publisher.sent, ports.publisher.facts
        return replace(ports, publisher=losing)
