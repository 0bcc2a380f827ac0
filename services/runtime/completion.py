"""Ending a run: when every segment is settled, prove the balance, move the watermark, announce it.

Order of effects: ledger → mirror → watermark → announcement. Each step may be repeated, so whoever settles a
segment, and whoever is handed one that was settled before, may call this.
"""

from dataclasses import dataclass

import structlog

from contracts.runs import LimitReached, RunCompleted, RunFailed, RunState
from services.runtime.conservation import Conservation, conserve
from services.runtime.failures import ConflictError
from services.runtime.lag import LagMeter
from services.runtime.ledger import Collection, Ledger, Run
from services.runtime.mirrors import StateMirrors
from services.runtime.publishing import Publisher
from services.runtime.runlog import log_of
from services.runtime.watermarks import Watermarks

log = structlog.get_logger()

ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Completion:
    """The ports that ending a run needs."""

    ledger: Ledger
    watermarks: Watermarks
    publisher: Publisher
    mirrors: StateMirrors
    lag: LagMeter | None = None
    """Reports how far a watermark is behind once it has moved; None: nobody measures it."""

    async def complete(self, run_id: str, watermark: str) -> RunState | None:
        """End the run if all its planned segments are merged; None while something is still under way.

        A run that does not balance ends as FAILED with what is missing: it must never pass for a success.
        """
        run = await self.ledger.run(run_id)
        if run is None or run.planned is None or run.settled < run.planned:
            return None
        if run.state is RunState.FAILED:
            await self._end_parent(run)
            return run.state
        segments = await self.ledger.segments(run_id)
        table = conserve(run, segments)
        if table.pending_segments:
            return None
        if table.balanced:
            await self._succeed(run, table, watermark)
            await self._end_parent(run)
            return RunState.SUCCEEDED
        await self.fail(run, "ledger does not balance: " + "; ".join(table.problems))
        return RunState.FAILED

    async def fail(self, run: Run, reason: str) -> None:
        """End a run as failed, for this reason."""
        if await self.ledger.finish_run(run.run_id, RunState.FAILED, reason=reason):
            log.error("run failed", run_id=run.run_id, pipeline=run.pipeline, reason=reason)
        await self.publisher.announce(
            RunFailed(pipeline=run.pipeline, run_id=run.run_id, reason=reason), run_id=run.run_id
        )
        await self._end_parent(run)

    async def _succeed(self, run: Run, table: Conservation, watermark: str) -> None:
        ended = await self.ledger.finish_run(run.run_id, RunState.SUCCEEDED)
        covered = run.collection
        if covered is not None and covered.mirror is not None and covered.entity is None:
            await self._show(covered.mirror, watermark, run, is_first=ended)
        if run.frontier is not None:
            await self._advance(watermark, run, run.frontier)
            if covered is not None and covered.mirror is not None and covered.entity is not None:
                await self._show_entity(covered.mirror, covered.entity, watermark, run, table.records)
        if covered is not None and covered.resume is not None:
            await self._keep_place(covered.resume, run, covered)
        if ended:
            log.info("run succeeded", run_id=run.run_id, pipeline=run.pipeline, records=table.records)
        if covered is not None and covered.limit is not None:
            limit = LimitReached(
                pipeline=run.pipeline, run_id=run.run_id, max_records=covered.limit, frontier=covered.end
            )
            await self.publisher.announce(limit, run_id=run.run_id)
        fact = RunCompleted(pipeline=run.pipeline, run_id=run.run_id, state=RunState.SUCCEEDED, records=table.records)
        await self.publisher.announce(fact, run_id=run.run_id)

    async def _end_parent(self, run: Run) -> None:
        """End the group's run if this was the last of its entities' runs to end.

        Two that end at the same time may both find themselves the last: all of it may be repeated.
        """
        parent = None if run.parent is None else await self.ledger.run(run.parent)
        if parent is None:
            return
        found = [await self.ledger.run(child) for child in parent.children]
        children = [child for child in found if child is not None and child.state in ENDED]
        if len(children) < len(parent.children):
            return
        records = {
            child.run_id: conserve(child, await self.ledger.segments(child.run_id)).records for child in children
        }
        if parent.log is not None:
            await self.mirrors.write_log(parent.log, log_of(parent, children, records))
        failed = [child for child in children if child.state is RunState.FAILED]
        if failed:
            named = "; ".join(f"{child.pipeline}: {child.reason}" for child in failed)
            await self.fail(parent, f"{len(failed)} of {len(children)} entities failed: {named}")
            return
        if await self.ledger.finish_run(parent.run_id, RunState.SUCCEEDED):
            log.info(
                "run of a group succeeded",
                run_id=parent.run_id,
                pipeline=parent.pipeline,
                records=sum(records.values()),
            )
        fact = RunCompleted(
            pipeline=parent.pipeline, run_id=parent.run_id, state=RunState.SUCCEEDED, records=sum(records.values())
        )
        await self.publisher.announce(fact, run_id=parent.run_id)

    async def _show_entity(self, mirror: str, entity: str, watermark: str, run: Run, records: int) -> None:
        """Show in the group's mirror how far an entity is, if it is this run that brought it there."""
        standing = await self.watermarks.read(watermark)
        if standing is not None and standing.run_id == run.run_id and standing.cursor is not None:
            await self.mirrors.write_entity(mirror, entity, standing.cursor, records)

    async def _show(self, mirror: str, watermark: str, run: Run, *, is_first: bool) -> None:
        """Write the mirror of a watermark that is about to move, or that this run leaves where it stands.

        A repetition after the watermark has moved writes nothing: somebody may have deleted the mirror since.
        """
        standing = await self.watermarks.read(watermark)
        version, reached = (0, None) if standing is None else (standing.version, standing.cursor)
        moves = run.frontier is not None and version == run.watermark_version
        if not is_first and not moves:
            return
        if reached is not None and not await self.mirrors.exists(mirror):
            log.warning("the state mirror was deleted meanwhile: the next run starts over", mirror=mirror)
            return
        # A frontier that cannot be reached any more (the watermark was reset, say) is not shown either.
        shown = (reached, run.frontier) if moves else (reached,)
        await self.mirrors.write(mirror, max(filter(None, shown), default=None))

    async def _keep_place(self, name: str, run: Run, covered: Collection) -> None:
        """Let the next forced load go on where this one's limit stopped it, or start over if nothing did."""
        cursor = None if covered.limit is None else covered.end
        try:
            await self.watermarks.reset(name, cursor, expected_version=covered.resume_version, run_id=run.run_id)
        except ConflictError as error:
            log.info("resume point stays", run_id=run.run_id, reason=str(error))

    async def _advance(self, name: str, run: Run, frontier: str) -> None:
        """Move the watermark from where it stood when the run was planned.

        If it stands elsewhere by now, this call was made before, another run proved something, or a restore took back
        what this run had found settled. Which of them makes no difference: the next scan proves the rest.
        """
        covered = run.collection
        try:
            moved = await self.watermarks.advance(
                name,
                frontier,
                expected_version=run.watermark_version,
                run_id=run.run_id,
                complete_until=None if covered is None else covered.complete_until,
            )
        except ConflictError as error:
            log.info("watermark stays", run_id=run.run_id, frontier=frontier, reason=str(error))
        else:
            if self.lag is not None:
                self.lag.report(run.pipeline, moved.cursor)
