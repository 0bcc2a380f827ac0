"""The database of a chunked job in memory: its own ledger with the rules of chunk_sql, and how often each key was done.

A method is one transaction, and one effect: it happens whole or not at all.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from services.chunk_worker.ports import Claimed, Health, Standing, TableState, Updated, Work
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import KeyRows
from services.runtime.failures import PermanentError
from tests.fakes.effects import Effects

OPEN = frozenset({TableState.PLANNED, TableState.MARKED})
Key = tuple[str | None, ...]


@dataclass
class FakeChunkRow:
    """One row of the ledger."""

    planned_rows: int
    state: TableState = TableState.PLANNED
    token: int = 0
    attempts: int = 0
    updated_rows: int | None = None


@dataclass
class FakeChunkDatabase:
    """What the database holds; processes share it."""

    keys: list[KeyRows] = field(default_factory=list)
    snapshots: dict[str, str] = field(default_factory=dict)
    """The run whose snapshot there is, by job."""
    chunks: dict[tuple[str, str], FakeChunkRow] = field(default_factory=dict)
    done: Counter[tuple[str, Key]] = field(default_factory=Counter)
    """How often each key of each run was worked on, by transactions that were committed."""
    marked: set[Key] = field(default_factory=set)
    gone: dict[Key, int] = field(default_factory=dict)
    """Rows of each key that were deleted since the snapshot."""
    health: Health = field(default_factory=lambda: Health(None, 0, None))
    trouble: dict[str, deque[Exception]] = field(default_factory=lambda: defaultdict(deque))
    """What the next calls fail with, by call: ``update 0``, ``mark 0``, ``claim 0``, ``health``."""
    prepared: Counter[str] = field(default_factory=Counter)
    """Snapshots taken, by run."""
    finished: Counter[str] = field(default_factory=Counter)
    """Runs whose job's finish was carried out."""

    def fail(self, call: str, *errors: Exception) -> None:
        """Let the next calls fail."""
        self.trouble[call].extend(errors)

    def meet(self, call: str) -> None:
        """Fail if that is what comes next."""
        if self.trouble[call]:
            raise self.trouble[call].popleft()

    def row(self, run_id: str, chunk_id: str) -> FakeChunkRow:
        """One row of the ledger."""
        return self.chunks[run_id, chunk_id]

    def keys_of(self, work: Work) -> list[KeyRows]:
        """The keys of a chunk that are in the snapshot."""
        if work.keys is None:
            return self.keys
        wanted = set(zip(*work.keys.values, strict=True))
        return [key for key in self.keys if key.values in wanted]


class FakeChunkTables:
    """``ChunkTables`` of one process; ``working`` is awaited in the midst of every update."""

    def __init__(
        self,
        database: FakeChunkDatabase,
        *,
        effects: Effects | None = None,
        working: Callable[[Work], Awaitable[None]] | None = None,
    ) -> None:
        self.database = database
        self.effects = effects or Effects()
        self._working = working

    async def standing(self, job: LoadedJob, run_id: str, chunk_id: str) -> Standing:
        """See the port."""
        self.database.meet(f"standing {chunk_id}")
        row, snapshot = self.database.chunks.get((run_id, chunk_id)), self.database.snapshots.get(job.name)
        if row is None or snapshot is None:
            return Standing(None, 0, 0, None, snapshot)
        return Standing(row.state, row.token, row.attempts, row.updated_rows, snapshot)

    async def claim(self, work: Work, *, mark: bool) -> Claimed | None:
        """See the port."""
        self.database.meet(f"claim {work.chunk_id}")

        def take() -> Claimed | None:
            if self.database.snapshots.get(work.job.name) != work.run_id:
                return None
            row = self.database.chunks.get((work.run_id, work.chunk_id), FakeChunkRow(work.rows))
            if row.state not in OPEN or row.token > work.token:
                return None
            row.state, row.token, row.attempts = TableState.MARKED, work.token, row.attempts + 1
            self.database.chunks[work.run_id, work.chunk_id] = row
            if mark:  # a claim is an attempt, also if marking fails after it
                self.database.meet(f"mark {work.chunk_id}")
            return Claimed(row.attempts, self._mark(work) if mark else 0)

        return await self.effects.perform(f"claim {work.chunk_id}", take)

    async def update(self, work: Work) -> Updated | None:
        """See the port; who is cancelled in the midst of it has changed nothing."""
        if self._working is not None:
            await self._working(work)
        self.database.meet(f"update {work.chunk_id}")

        def apply() -> Updated | None:
            row = self.database.chunks.get((work.run_id, work.chunk_id))
            present = self.database.snapshots.get(work.job.name)
            if row is None or present != work.run_id or (row.state, row.token) != (TableState.MARKED, work.token):
                return None
            keys = self.database.keys_of(work)
            gone = sum(self.database.gone.get(key.values, 0) for key in keys)
            rows = sum(key.rows for key in keys) - gone
            if rows + gone != row.planned_rows:
                raise PermanentError(f"chunk {work.chunk_id}: {row.planned_rows - rows - gone} rows unaccounted for")
            self.database.done.update((work.run_id, key.values) for key in keys)
            self.database.marked -= {key.values for key in keys}
            row.state, row.updated_rows = TableState.DONE, rows
            return Updated(rows, gone)

        return await self.effects.perform(f"update {work.chunk_id}", apply)

    async def split(self, work: Work, parts: Sequence[tuple[str, int]]) -> bool:
        """See the port."""
        self.database.meet(f"split {work.chunk_id}")

        def give_up() -> bool:
            row = self.database.chunks.get((work.run_id, work.chunk_id))
            if row is None or (row.state, row.token) != (TableState.MARKED, work.token):
                return False
            row.state = TableState.SPLIT
            for part_id, rows in parts:
                self.database.chunks.setdefault((work.run_id, part_id), FakeChunkRow(rows))
            return True

        return await self.effects.perform(f"split {work.chunk_id}", give_up)

    async def blameless(self, work: Work) -> None:
        """See the port."""
        self.database.meet(f"blameless {work.chunk_id}")

        def give_back() -> None:
            row = self.database.chunks.get((work.run_id, work.chunk_id))
            if row and (row.state, row.token) == (TableState.MARKED, work.token) and row.attempts:
                row.attempts -= 1

        await self.effects.perform(f"blameless {work.chunk_id}", give_back)

    async def health(self, job: LoadedJob) -> Health:
        """See the port."""
        self.database.meet("health")
        self.effects.reach(f"health {job.name}")
        return self.database.health

    async def check(self, job: LoadedJob) -> str:
        """See the port."""
        self.database.meet("check")
        return f"PostgreSQL of {job.name} in memory, as nobody"

    def _mark(self, work: Work) -> int:
        fresh = [key for key in self.database.keys_of(work) if key.values not in self.database.marked]
        self.database.marked |= {key.values for key in fresh}
        return sum(key.rows for key in fresh)
