"""Ending a run: when every segment is settled, prove the balance, move the watermark, announce it.

Order of effects: ledger → watermark → announcement, as everywhere. Each step may be repeated, so whoever settles a
segment, and whoever is handed one that was settled before, may call this.
"""

from dataclasses import dataclass

import structlog

from contracts.runs import RunCompleted, RunFailed, RunState
from services.runtime.conservation import Conservation, conserve
from services.runtime.failures import ConflictError
from services.runtime.ledger import Ledger, Run
from services.runtime.publishing import Publisher
from services.runtime.watermarks import Watermarks

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Completion:
    """The ports that ending a run needs."""

    ledger: Ledger
    watermarks: Watermarks
    publisher: Publisher

    async def complete(self, run_id: str, watermark: str) -> RunState | None:
        """End the run if all its planned segments are merged; None while something is still under way.

        A run that does not balance ends as FAILED with what is missing: it must never pass for a success.
        """
        run = await self.ledger.run(run_id)
        if run is None or run.planned is None or run.settled < run.planned:
            return None
        if run.state is RunState.FAILED:
            return run.state
        segments = await self.ledger.segments(run_id)
        table = conserve(run, segments)
        if table.pending_segments:
            return None
        if table.balanced:
            await self._succeed(run, table, watermark)
            return RunState.SUCCEEDED
        await self.fail(run, "ledger does not balance: " + "; ".join(table.problems))
        return RunState.FAILED

    async def fail(self, run: Run, reason: str) -> None:
        """End a run as failed, for this reason."""
        if await self.ledger.finish_run(run.run_id, RunState.FAILED, reason=reason):
            log.error("run failed", run_id=run.run_id, reason=reason)
        await self.publisher.announce(
            RunFailed(pipeline=run.pipeline, run_id=run.run_id, reason=reason), run_id=run.run_id
        )

    async def _succeed(self, run: Run, table: Conservation, watermark: str) -> None:
        ended = await self.ledger.finish_run(run.run_id, RunState.SUCCEEDED)
        if run.frontier is not None:
            await self._advance(watermark, run, run.frontier)
        if ended:
            log.info("run succeeded", run_id=run.run_id, records=table.records)
        fact = RunCompleted(pipeline=run.pipeline, run_id=run.run_id, state=RunState.SUCCEEDED, records=table.records)
        await self.publisher.announce(fact, run_id=run.run_id)

    async def _advance(self, name: str, run: Run, frontier: str) -> None:
        """Move the watermark from where it stood when the run was planned.

        If it stands elsewhere by now, this call was made before, another run proved something, or a restore took back
        what this run had found settled. Which of them makes no difference: the next scan proves the rest.
        """
        try:
            await self.watermarks.advance(name, frontier, expected_version=run.watermark_version, run_id=run.run_id)
        except ConflictError as error:
            log.info("watermark stays", run_id=run.run_id, frontier=frontier, reason=str(error))
