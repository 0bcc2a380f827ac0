"""The database of chunked jobs as the planner sees it, in memory: what can be worked on, and the snapshot of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from contracts.chunks import PlannedChunk
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import KeyRows, Window
from tests.fakes.effects import Effects


@dataclass
class Tables:
    """What one database holds: rows of each key, the snapshot taken of them, and the ledger that decides."""

    live: list[KeyRows] = field(default_factory=list)
    snapshot: list[KeyRows] = field(default_factory=list)
    owner: str | None = None
    taken: list[tuple[str, Window]] = field(default_factory=list)
    """Every snapshot that was taken, in order."""
    registered: dict[tuple[str, str], int] = field(default_factory=dict)
    """Planned rows by run and chunk."""
    retried: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    trouble: dict[str, Exception] = field(default_factory=dict)
    """What each method raises, as long as it is here."""


class TablesSeen:
    """``JobDatabase`` over tables in memory."""

    def __init__(self, tables: Tables, effects: Effects) -> None:
        self._tables = tables
        self._effects = effects

    async def prepare(self, run_id: str, window: Window) -> bool:
        """See the port."""
        self._ask("prepare")
        tables = self._tables

        def take() -> bool:
            if tables.owner == run_id:
                return False
            tables.owner, tables.snapshot = run_id, list(tables.live)
            tables.taken.append((run_id, window))
            return True

        return await self._effects.perform(f"snapshot {run_id}", take)

    async def present_run(self) -> str | None:
        """See the port."""
        self._ask("present_run")
        return self._tables.owner

    async def distribution(self) -> AsyncIterator[KeyRows]:
        """See the port; a job without snapshots is asked for what there is."""
        self._ask("distribution")
        for key in self._tables.snapshot if self._tables.owner else self._tables.live:
            yield key

    async def preview(self, window: Window) -> AsyncIterator[KeyRows]:
        """See the port."""
        assert window.first_day <= window.last_day
        self._ask("preview")
        for key in self._tables.live:
            yield key

    async def register(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See the port."""
        self._ask("register")

        def enter() -> None:
            for chunk in chunks:
                self._tables.registered.setdefault((run_id, chunk.chunk_id), chunk.rows)

        await self._effects.perform(f"register {run_id}", enter)

    async def retry(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """See the port."""
        self._ask("retry")
        call = (run_id, tuple(chunk_ids))
        await self._effects.perform(f"retry {run_id}", lambda: self._tables.retried.append(call))

    async def finish(self, run_id: str) -> None:
        """See the port."""
        self._ask("finish")
        await self._effects.perform(f"finish {run_id}", lambda: self._tables.ended.append(run_id))

    def _ask(self, question: str) -> None:
        self._effects.reach(f"ask {question}")
        if question in self._tables.trouble:
            raise self._tables.trouble[question]


class Databases:
    """``JobDatabases`` in which all jobs share one."""

    def __init__(self, tables: Tables, effects: Effects) -> None:
        self._seen = TablesSeen(tables, effects)

    def of(self, _: LoadedJob) -> TablesSeen:
        """See the port."""
        return self._seen
