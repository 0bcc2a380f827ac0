"""Ending a chunked run: when every chunk is done or has failed, prove the balance and announce it.

Order of effects: the job's own finish → ledger → announcement. Each step may be repeated, so whoever ends a chunk, and
whoever is handed one that was ended before, may call this.
"""

from dataclasses import dataclass

import structlog

from contracts.runs import RunCompleted, RunFailed, RunState
from services.runtime.chunking.conservation import conserve_chunks
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import ChunkEntry, ChunkLedger, ChunkState, JobDatabases
from services.runtime.ledger import Ledger, Run
from services.runtime.publishing import Publisher

log = structlog.get_logger()

NAMED = 5
"""Failed chunks that a run's reason names."""


@dataclass(frozen=True, slots=True)
class ChunkCompletion:
    """The ports that ending a chunked run needs."""

    databases: JobDatabases
    ledger: Ledger
    chunks: ChunkLedger
    publisher: Publisher

    async def complete(self, job: LoadedJob, run_id: str) -> RunState | None:
        """End the run if each of its chunks is done or has failed; None while some are under way.

        A run that has failed chunks, or does not balance, ends as FAILED: it must never pass for a success. One that
        was cancelled stays so.

        Raises:
            PermanentError, TemporaryError: the job's finish does not succeed; the run has not ended.
        """
        run = await self.ledger.run(run_id)
        if run is None or run.planned is None or run.settled + run.failed < run.planned:
            return None
        if run.state is RunState.CANCELLED:
            return run.state
        entries = await self.chunks.chunks(run_id)
        if any(entry.state is ChunkState.PLANNED for entry in entries):
            return None
        failed = [entry for entry in entries if entry.state is ChunkState.FAILED]
        if failed:
            await self.fail(run, _reason(failed, len(entries)))
            return RunState.FAILED
        table = conserve_chunks(run, entries)
        if not table.balanced:
            await self.fail(run, "ledger does not balance: " + "; ".join(table.problems))
            return RunState.FAILED
        if run.state is not RunState.SUCCEEDED:
            await self.databases.of(job).finish(run_id)
        return await self._succeed(run, table.records)

    async def fail(self, run: Run, reason: str) -> None:
        """End a run as failed, for this reason; one that has ended otherwise stays what it is."""
        if await self.ledger.finish_run(run.run_id, RunState.FAILED, reason=reason):
            log.error("run failed", run_id=run.run_id, pipeline=run.pipeline, reason=reason)
        elif (ended := await self.ledger.run(run.run_id)) is None or ended.state is not RunState.FAILED:
            return
        await self.publisher.announce(
            RunFailed(pipeline=run.pipeline, run_id=run.run_id, reason=reason), run_id=run.run_id
        )

    async def _succeed(self, run: Run, records: int) -> RunState | None:
        # A run that ended as failed is whole after all: its last chunk turned out to be done.
        if run.state is RunState.FAILED and await self.ledger.reopen_run(run.run_id):
            log.info("run goes on: each of its chunks is done", run_id=run.run_id)
        if await self.ledger.finish_run(run.run_id, RunState.SUCCEEDED):
            log.info("run succeeded", run_id=run.run_id, pipeline=run.pipeline, records=records)
        elif (ended := await self.ledger.run(run.run_id)) is None or ended.state is not RunState.SUCCEEDED:
            return None if ended is None else ended.state
        fact = RunCompleted(pipeline=run.pipeline, run_id=run.run_id, state=RunState.SUCCEEDED, records=records)
        await self.publisher.announce(fact, run_id=run.run_id)
        return RunState.SUCCEEDED


def _reason(failed: list[ChunkEntry], total: int) -> str:
    named = "; ".join(f"{entry.chunk_id}: {entry.reason}" for entry in failed[:NAMED])
    more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    return f"{len(failed)} of {total} chunks failed: {named}{more}"
