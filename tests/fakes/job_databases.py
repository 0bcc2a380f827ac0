"""Job databases as planning sees them, over the same memory as ``FakeChunkTables``; and other databases beside them."""

from collections.abc import AsyncIterator, Sequence
from datetime import date

from contracts.chunks import PlannedChunk
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import Batch, KeyRows, Window
from services.runtime.failures import BadDeclarationError
from tests.fakes.chunk_tables import OPEN, FakeChunkDatabase, FakeChunkRow
from tests.fakes.effects import Effects


class FakeJobDatabases:
    """``JobDatabases`` whose jobs all work in one database."""

    def __init__(self, database: FakeChunkDatabase, *, effects: Effects | None = None) -> None:
        self._database = database
        self._effects = effects or Effects()

    def of(self, job: LoadedJob) -> "FakeJobDatabase":
        """See the port."""
        return FakeJobDatabase(self._database, job, self._effects)


class FakeJobDatabase:
    """``JobDatabase`` over a database in memory."""

    def __init__(self, database: FakeChunkDatabase, job: LoadedJob, effects: Effects) -> None:
        self._database = database
        self._job = job
        self._effects = effects

    async def prepare(self, run_id: str, window: Window) -> bool:
        """See the port."""
        if window.first_day > window.last_day:
            raise ValueError(f"{window} ends before it begins")
        self._database.meet("prepare")

        def take() -> bool:
            if self._database.snapshots.get(self._job.name) == run_id:
                return False
            self._database.snapshots[self._job.name] = run_id
            self._database.marked.clear()
            self._database.prepared[run_id] += 1
            return True

        return await self._effects.perform(f"prepare {run_id}", take)

    async def present_run(self) -> str | None:
        """See the port."""
        self._database.meet("present")
        return self._database.snapshots.get(self._job.name)

    async def distribution(self) -> AsyncIterator[KeyRows]:
        """See the port."""
        self._database.meet("distribution")
        for key in list(self._database.keys):
            yield key

    async def preview(self, window: Window) -> AsyncIterator[KeyRows]:
        """See the port."""
        if window.first_day > window.last_day:
            raise ValueError(f"{window} ends before it begins")
        async for key in self.distribution():
            yield key

    async def register(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """See the port."""

        def enter() -> None:
            for chunk in chunks:
                self._database.chunks.setdefault((run_id, chunk.chunk_id), FakeChunkRow(chunk.rows))

        await self._effects.perform(f"register {run_id}", enter)

    async def retry(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """See the port."""
        self._database.meet("retry")

        def forgive() -> None:
            for (run, chunk_id), row in self._database.chunks.items():
                if run == run_id and chunk_id.split(".")[0] in chunk_ids and row.state in OPEN:
                    row.attempts = 0

        await self._effects.perform(f"retry {run_id}", forgive)

    async def finish(self, run_id: str) -> None:
        """See the port."""
        self._database.meet("finish")
        await self._effects.perform(f"finish {run_id}", lambda: self._database.finished.update([run_id]))


class FakeAnalyticsSources:
    """``AnalyticsSources`` of batches that tests give; every job has the same, if it declares any."""

    def __init__(self, batches: Sequence[Batch] = (), *, trouble: Exception | None = None) -> None:
        self.batches = list(batches)
        self.asked: list[tuple[str, tuple[str | date, ...]]] = []
        self._trouble = trouble

    def of(self, job: LoadedJob) -> "FakeAnalyticsSources":
        """See the port."""
        if job.job.analytics is None:
            raise BadDeclarationError(f"{job.name} declares no analytics")
        return self

    async def check(self) -> str:
        """See ``AnalyticsSource``."""
        if self._trouble is not None:
            raise self._trouble
        return "analytics in memory, as nobody"

    async def read(self, query: str, given: Sequence[str | date]) -> AsyncIterator[Batch]:
        """See ``AnalyticsSource``."""
        self.asked.append((query, tuple(given)))
        if self._trouble is not None:
            raise self._trouble
        for batch in self.batches:
            yield batch
