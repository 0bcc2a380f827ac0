"""Making the plan of a collecting run: where the pipeline stands, what there is to read, what that would prove."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from contracts.pipelines import Pipeline
from contracts.plans import CollectPlan
from contracts.runs import PlanRun
from contracts.sources import SocrataSource
from contracts.targets import PartitionTarget
from services.planner.core.window import Standing, claim_of, forced_place, is_from_the_future, window_of
from services.planner.ports import Collecting, Ports
from services.planner.use_case.counting import count
from services.runtime.ledger import Run

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """A request with everything its plan is made from."""

    ports: Ports
    tools: Collecting
    pipeline: Pipeline
    source: SocrataSource
    request: PlanRun

    @property
    def mirror(self) -> str | None:
        """Where the pipeline's state mirror lies, ``{bucket}/{key}``."""
        target = self.pipeline.target
        key = target.state_mirror if isinstance(target, PartitionTarget) else None
        return None if key is None else f"{self.ports.target_bucket(self.pipeline)}/{key}"


async def look_up(task: Task) -> Standing:
    """Where the pipeline stands."""
    ports, place = task.ports, forced_place(task.pipeline.watermark)
    watermark = await ports.watermarks.read(task.pipeline.watermark)
    resume = await ports.watermarks.read(place)
    left_by = None
    if resume is not None and resume.cursor is not None:
        left_by = await task.tools.plans.find(resume.run_id)
    shown = task.mirror is None or watermark is None or watermark.cursor is None
    return Standing(
        watermark=watermark,
        resume=resume,
        resumable_from=None if left_by is None else left_by.asked_from,
        mirror_deleted=not shown and not await ports.completion.mirrors.exists(task.mirror or ""),
    )


async def start_over(task: Task, run: Run, standing: Standing) -> Standing:
    """Forget how far the pipeline was, where there is no watermark (any more) or its mirror was deleted.

    Raises:
        ConflictError: somebody else has just moved one of its watermarks; look again.
    """
    if standing.cursor is not None:
        return standing
    watermark, resume = standing.watermark, standing.resume
    if standing.mirror_deleted and watermark is not None:
        log.warning("the state mirror was deleted: starting over", mirror=task.mirror, cursor=watermark.cursor)
        watermark = await task.ports.watermarks.reset(
            watermark.name, None, expected_version=watermark.version, run_id=run.run_id
        )
    if resume is not None and resume.cursor is not None:
        resume = await task.ports.watermarks.reset(
            resume.name, None, expected_version=resume.version, run_id=run.run_id
        )
    return Standing(watermark=watermark, resume=resume)


async def draft(task: Task, run: Run, standing: Standing) -> CollectPlan:
    """The plan of a run; nothing is written.

    Raises:
        PermanentError: the source refused a query, or its cursors are no timestamps; the text says which.
        TemporaryError: the source does not answer now.
    """
    source, payload = task.source, task.request.collect
    now = datetime.fromisoformat(run.started_at).astimezone(UTC)
    window = window_of(source, payload, standing, now)
    most = payload.max_records or source.max_records
    dataset = task.tools.datasets.of(task.pipeline.name)
    with task.ports.telemetry.segment("count"):
        newest = await dataset.newest()
        counted = await count(dataset, source, window, newest, most)
    if newest is not None and is_from_the_future(newest, now):
        log.warning("the newest row is dated in the future", cursor=newest)
    claim = claim_of(source, window, standing, counted.end, newest, now)
    is_forced = payload.force_initial_load and standing.cursor is not None
    return CollectPlan(
        run_id=run.run_id,
        pipeline=run.pipeline,
        mode=window.mode,
        started_at=run.started_at,
        run_date=now.date().isoformat(),
        segments=counted.ranges,
        start=window.start,
        end=counted.end or window.start,
        asked_from=window.asked_from,
        frontier=claim.frontier,
        complete_until=claim.complete_until,
        watermark_version=0 if standing.watermark is None else standing.watermark.version,
        limit=most if counted.is_cut else None,
        mirror=task.mirror,
        resume=forced_place(task.pipeline.watermark) if is_forced else None,
        resume_version=standing.resume.version if is_forced and standing.resume is not None else 0,
    )
