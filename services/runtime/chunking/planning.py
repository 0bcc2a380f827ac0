"""Planning a chunked run: snapshot, distribution, balanced chunks, a plan that is kept, and its entry in both ledgers.

Order of effects: run → snapshot → keys of chunks → plan object → the database's ledger → the run's ledger. Whoever dies
anywhere is continued by whoever comes next: the snapshot is taken once, and the plan that was kept first is the plan.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from contracts.chunk_jobs import ChunkSizes
from contracts.chunks import WHOLE, ChunkPayload, ChunkPlan, PlannedChunk
from contracts.runs import RunMode, RunState
from services.runtime.chunking.balance import Draft, balanced
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import ChunkLedger, ChunkPlans, ChunkState, JobDatabase, JobDatabases, Window
from services.runtime.chunking.window import sizes_of, window_of
from services.runtime.clock import Clock
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.ledger import Ledger, Run, ScanCounts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ChunkPlanning:
    """The ports that planning needs. Callers see to it that a job is planned by one at a time."""

    databases: JobDatabases
    plans: ChunkPlans
    ledger: Ledger
    chunks: ChunkLedger
    clock: Clock

    async def open(self, job: LoadedJob, run_id: str) -> Run:
        """The run of this id, opened if there is none yet."""
        run = Run(
            run_id=run_id,
            pipeline=job.name,
            mode=RunMode.CHUNKS,
            state=RunState.PLANNING,
            started_at=self.clock.now().isoformat(),
        )
        if await self.ledger.open_run(run):
            return run
        found = await self.ledger.run(run_id)
        if found is None or found.pipeline != job.name:
            owner = "nobody's" if found is None else f"one of {found.pipeline}"
            raise BadDeclarationError(f"run {run_id} is not one of {job.name}, but {owner}")
        return found

    async def prepare(self, job: LoadedJob, run_id: str, payload: ChunkPayload) -> bool:
        """Take the run's snapshot; False if it was taken before.

        Raises:
            BadDeclarationError: the payload contradicts itself; no other run's snapshot is given up for that.
            PermanentError: the run was planned on a snapshot that another run's has replaced; or the database refuses.
            TemporaryError: the database does not answer now.
        """
        database = self.databases.of(job)
        if await self.plans.find(run_id) is not None:
            # Another snapshot than the plan was made from has other rows: its chunks would miss some of them.
            await _require_snapshot(database, run_id)
            taken = False
        else:
            sizes_of(job.job.chunks, payload)
            taken = await database.prepare(run_id, await self._window(job, run_id, payload))
        log.info("snapshot taken" if taken else "snapshot is there already", run_id=run_id, pipeline=job.name)
        return taken

    async def plan(
        self,
        job: LoadedJob,
        run_id: str,
        payload: ChunkPayload,
        *,
        whole: bool = False,
        dispatch: Callable[[], Awaitable[None]] | None = None,
    ) -> ChunkPlan:
        """Cut the snapshot into chunks (or into one, ``whole``), keep the plan and enter it; the run is then RUNNING.

        ``dispatch`` comes before that, so that the chunks of a RUNNING run are known to have been dispatched.

        Raises:
            BadDeclarationError: the payload contradicts itself.
            PermanentError: the snapshot is not this run's; or the database refuses.
            TemporaryError: the database does not answer now.
        """
        database = self.databases.of(job)
        plan = await self.plans.find(run_id)
        if plan is None:
            await _require_snapshot(database, run_id)
            window = await self._window(job, run_id, payload)
            sizes = sizes_of(job.job.chunks, payload)
            drafted = await self._draft(job, database, run_id, window, sizes, whole=whole)
            plan = await self.plans.keep(drafted)
            for warning in plan.warnings:
                log.warning("a key is larger than a chunk should be", key=warning, run_id=run_id)
        await database.register(run_id, plan.chunks)
        await self.chunks.plan_chunks(run_id, plan.chunks)
        if dispatch is not None:
            await dispatch()
        await self.ledger.start_run(
            run_id, planned=len(plan.chunks), scan=ScanCounts(listed=plan.rows, dispatched=plan.rows), frontier=None
        )
        log.info("chunks planned", run_id=run_id, chunks=len(plan.chunks), rows=plan.rows, keys=plan.keys)
        return plan

    async def reopen(self, job: LoadedJob, run_id: str) -> list[str]:
        """Let a run that ended without all of its chunks go on; the ids of those that are not done, in order."""
        entries = await self.chunks.chunks(run_id)
        failed = [entry.chunk_id for entry in entries if entry.state is ChunkState.FAILED]
        await self.databases.of(job).retry(run_id, failed)
        for chunk_id in failed:
            await self.chunks.reopen_chunk(run_id, chunk_id)
        await self.ledger.reopen_run(run_id)
        return [entry.chunk_id for entry in entries if entry.state is not ChunkState.DONE]

    async def unfinished(self, run_id: str) -> list[str]:
        """Ids of a run's chunks that are not done, in order."""
        return [each.chunk_id for each in await self.chunks.chunks(run_id) if each.state is not ChunkState.DONE]

    async def _window(self, job: LoadedJob, run_id: str, payload: ChunkPayload) -> Window:
        """Reckoned from the day the run was opened, so that whoever goes on with it tomorrow covers the same days."""
        run = await self.ledger.run(run_id)
        asked = self.clock.now() if run is None else datetime.fromisoformat(run.started_at)
        return window_of(job.job.window, payload, asked.astimezone(UTC).date())

    async def _draft(
        self, job: LoadedJob, database: JobDatabase, run_id: str, window: Window, sizes: ChunkSizes, *, whole: bool
    ) -> ChunkPlan:
        chunks: list[PlannedChunk] = []
        warnings: list[str] = []
        async for draft in balanced(database.distribution(), sizes):
            warnings += [] if whole else warnings_of(job, draft, sizes)
            digest = None if whole else await self.plans.check_in(run_id, draft.document(list(job.job.keys)))
            chunks.append(PlannedChunk(chunk_id=str(len(chunks)), rows=draft.rows, keys=draft.size, sha256=digest))
        rows, keys = sum(chunk.rows for chunk in chunks), sum(chunk.keys for chunk in chunks)
        if whole and chunks:
            chunks = [PlannedChunk(chunk_id=WHOLE, rows=rows, keys=keys)]
        return ChunkPlan(
            run_id=run_id,
            pipeline=job.name,
            first_day=window.first_day,
            last_day=window.last_day,
            rows=rows,
            keys=keys,
            chunks=chunks,
            warnings=warnings,
        )


async def _require_snapshot(database: JobDatabase, run_id: str) -> None:
    present = await database.present_run()
    if present != run_id:
        whose = "there is none" if present is None else f"the present one is run {present}'s"
        raise PermanentError(f"run {run_id} has no snapshot in the database (any more): {whose}")


def warnings_of(job: LoadedJob, draft: Draft, sizes: ChunkSizes) -> list[str]:
    """Keys of a draft that are too large; their values may be personal, so only their size and type are told."""
    large = [key for key in draft.keys if key.rows > sizes.max_rows]
    columns = ", ".join(job.job.keys)
    return [
        f"one ({columns}) has {key.rows:,} rows, more than {sizes.max_rows:,}: it is a chunk of its own"
        for key in large
    ]
