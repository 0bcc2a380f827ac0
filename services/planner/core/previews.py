"""What a dry run shows."""

from collections.abc import Mapping, Sequence

from contracts.chunks import PlannedChunk
from contracts.loads import LoadPlan
from contracts.plans import CollectPlan, PlanPreview, PreviewedSegment
from contracts.runs import PlanRun, RunMode
from contracts.segments import Occurrence, segment_id_of
from services.planner.core.loads import label_of_slice, mode_of_load
from services.planner.core.slices import label_of
from services.runtime.chunking.ports import Window


def preview_of_occurrences(
    request: PlanRun, parts: Sequence[Sequence[Occurrence]], frontier: str | None
) -> PlanPreview:
    """A run that reads objects; each of them is one read."""
    occurrences = sum(len(part) for part in parts)
    return PlanPreview(
        run_id=request.run_id,
        pipeline=request.pipeline,
        mode=request.mode,
        segments=[
            PreviewedSegment(segment_id=segment_id_of(part), label=_label(part), rows=len(part)) for part in parts
        ],
        rows=occurrences,
        requests=occurrences,
        messages=len(parts),
        frontier=frontier,
    )


def preview_of_plan(plan: CollectPlan, batch_rows: int) -> PlanPreview:
    """A collecting run; a fetcher knows that a range is over by a page that is not full."""
    return PlanPreview(
        run_id=plan.run_id,
        pipeline=plan.pipeline,
        mode=plan.mode,
        segments=[
            PreviewedSegment(segment_id=s.segment_id, label=label_of(s.range), rows=s.expected_rows)
            for s in plan.segments
        ],
        rows=plan.expected_rows,
        requests=sum(s.expected_rows // batch_rows + 1 for s in plan.segments),
        messages=len(plan.segments),
        start=plan.start,
        end=plan.end,
        frontier=plan.frontier,
        limit=plan.limit,
    )


def preview_of_load(plan: LoadPlan) -> PlanPreview:
    """A load of one entity; each slice is one query, or one walk through the pages of an API."""
    return PlanPreview(
        run_id=plan.run_id,
        pipeline=plan.pipeline,
        mode=mode_of_load(plan.load_type),
        segments=[
            PreviewedSegment(segment_id=each.segment_id, label=label_of_slice(each.slice), rows=each.expected_rows)
            for each in plan.slices
        ],
        rows=plan.expected_rows,
        requests=len(plan.slices),
        messages=len(plan.slices),
        start=plan.start,
        end=plan.end,
        frontier=plan.frontier,
    )


def preview_of_group(request: PlanRun, entities: Mapping[str, PlanPreview]) -> PlanPreview:
    """A run of a group, out of the previews of its entities."""
    failed = {entity: each.error for entity, each in entities.items() if each.error is not None}
    return PlanPreview(
        run_id=request.run_id,
        pipeline=request.pipeline,
        mode=next((each.mode for each in entities.values()), request.mode),
        segments=[
            segment.model_copy(update={"label": f"{entity}: {segment.label}"})
            for entity, each in entities.items()
            for segment in each.segments
        ],
        rows=sum(each.rows for each in entities.values()),
        requests=sum(each.requests for each in entities.values()),
        messages=len(entities) + sum(each.messages for each in entities.values()),
        error="; ".join(f"{entity}: {error}" for entity, error in failed.items()) or None,
    )


def preview_of_chunks(
    request: PlanRun, chunks: Sequence[PlannedChunk], window: Window, warnings: Sequence[str]
) -> PlanPreview:
    """A run of a chunked job; nothing is read but by the chunks' own statements."""
    return PlanPreview(
        run_id=request.run_id,
        pipeline=request.pipeline,
        mode=RunMode.CHUNKS,
        segments=[
            PreviewedSegment(segment_id=each.chunk_id, label=_keys(each.keys), rows=each.rows) for each in chunks
        ],
        rows=sum(each.rows for each in chunks),
        requests=0,
        messages=len(chunks),
        start=window.first_day.isoformat(),
        end=window.last_day.isoformat(),
        warnings=list(warnings),
    )


def preview_of_failure(request: PlanRun, mode: RunMode, error: str) -> PlanPreview:
    """A run that would fail."""
    return PlanPreview(
        run_id=request.run_id,
        pipeline=request.pipeline,
        mode=mode,
        segments=[],
        rows=0,
        requests=0,
        messages=0,
        error=error,
    )


def _label(part: Sequence[Occurrence]) -> str:
    more = len(part) - 1
    return part[0].uri + (f" and {more} more" if more else "")


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count:,} keys"
