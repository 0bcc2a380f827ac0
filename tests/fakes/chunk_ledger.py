"""The chunks of runs in memory, in the table that the run ledger has."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from contracts.chunks import ChunkOutcome, PlannedChunk
from services.runtime.chunking.balance import order_of
from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.clock import Clock
from services.runtime.failures import MissingObjectError
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger, FakeLedgerTable


class FakeChunkLedger:
    """``ChunkLedger`` over a table in memory; ``of`` a ``FakeLedger`` it counts in that ledger's runs."""

    def __init__(
        self, table: FakeLedgerTable | None = None, clock: Clock | None = None, *, effects: Effects | None = None
    ) -> None:
        self.table = table or FakeLedgerTable()
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    @classmethod
    def of(cls, ledger: FakeLedger) -> "FakeChunkLedger":
        """The chunks of a ledger's runs, reached by the same process."""
        return cls(ledger.table, ledger._clock, effects=ledger.effects)

    def seen_by(self, effects: Effects) -> "FakeChunkLedger":
        """The same ledger as another process reaches it."""
        return FakeChunkLedger(self.table, self._clock, effects=effects)

    async def plan_chunks(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See ``ChunkLedger``; each chunk is an effect of its own."""

        async def enter(chunk: PlannedChunk) -> None:
            entry = ChunkEntry(
                run_id, chunk.chunk_id, ChunkState.PLANNED, chunk.rows, keys=chunk.keys, updated_at=self._now()
            )
            await self.effects.perform(
                f"plan chunk {run_id}/{chunk.chunk_id}",
                lambda: self.table.chunks.setdefault((run_id, chunk.chunk_id), entry),
            )

        for chunk in chunks:
            await enter(chunk)

    async def chunk_started(self, run_id: str, chunk_id: str, worker: str) -> None:
        """See ``ChunkLedger``."""

        def start() -> None:
            entry, now = self._entry(run_id, chunk_id), self._now()
            if entry.state is not ChunkState.DONE:
                self._put(replace(entry, worker=worker, started_at=now, updated_at=now))

        await self.effects.perform(f"started chunk {run_id}/{chunk_id}", start)

    async def chunk_done(self, run_id: str, chunk_id: str, outcome: ChunkOutcome, *, gone: int = 0) -> bool:
        """See ``ChunkLedger``."""

        def end(entry: ChunkEntry) -> ChunkEntry:
            return replace(
                entry,
                state=ChunkState.DONE,
                updated=outcome.rows,
                gone=gone,
                marked=outcome.rows_marked,
                seconds=outcome.seconds,
                parts=outcome.parts,
                reason=None,
            )

        return await self._move("done", run_id, chunk_id, {ChunkState.PLANNED, ChunkState.FAILED}, end)

    async def chunk_failed(self, run_id: str, chunk_id: str, reason: str) -> bool:
        """See ``ChunkLedger``."""

        def fail(entry: ChunkEntry) -> ChunkEntry:
            return replace(entry, state=ChunkState.FAILED, reason=reason)

        return await self._move("failed", run_id, chunk_id, {ChunkState.PLANNED}, fail)

    async def reopen_chunk(self, run_id: str, chunk_id: str) -> bool:
        """See ``ChunkLedger``."""

        def reopen(entry: ChunkEntry) -> ChunkEntry:
            return replace(entry, state=ChunkState.PLANNED, reason=None)

        return await self._move("reopened", run_id, chunk_id, {ChunkState.FAILED}, reopen)

    async def chunk(self, run_id: str, chunk_id: str) -> ChunkEntry | None:
        """See ``ChunkLedger``."""
        return self.table.chunks.get((run_id, chunk_id))

    async def chunks(self, run_id: str) -> list[ChunkEntry]:
        """See ``ChunkLedger``."""
        found = [entry for (run, _), entry in self.table.chunks.items() if run == run_id]
        return sorted(found, key=lambda entry: order_of(entry.chunk_id))

    async def _move(
        self,
        name: str,
        run_id: str,
        chunk_id: str,
        origins: set[ChunkState],
        change: Callable[[ChunkEntry], ChunkEntry],
    ) -> bool:
        stamp, stamped_as = uuid4().hex, f"{name} chunk {run_id}/{chunk_id}"

        def move() -> bool:
            before = self._entry(run_id, chunk_id)
            if before.state in origins and self.table.stamps.get(stamped_as) != stamp:
                after = replace(change(before), updated_at=self._now())
                self._put(after)
                self._count(before, -1)
                self._count(after, 1)
                self.table.blocked.pop(run_id, None)
                self.table.stamps[stamped_as] = stamp
            return self.table.stamps.get(stamped_as) == stamp

        return await self.effects.perform(stamped_as, move)

    def _count(self, entry: ChunkEntry, by: int) -> None:
        run = self.table.runs[entry.run_id]
        if entry.state is ChunkState.DONE:
            run = replace(run, settled=run.settled + by)
        if entry.state is ChunkState.FAILED:
            run = replace(run, failed=run.failed + by)
        self.table.runs[entry.run_id] = run

    def _put(self, entry: ChunkEntry) -> None:
        self.table.chunks[entry.run_id, entry.chunk_id] = entry

    def _entry(self, run_id: str, chunk_id: str) -> ChunkEntry:
        if run_id not in self.table.runs:
            raise MissingObjectError(f"run {run_id} is not in the ledger")
        if (run_id, chunk_id) not in self.table.chunks:
            raise MissingObjectError(f"chunk {chunk_id} of run {run_id} is not in the ledger")
        return self.table.chunks[run_id, chunk_id]

    def _now(self) -> str:
        return self._clock.now().isoformat()
