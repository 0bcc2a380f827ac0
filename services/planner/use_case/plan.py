"""One plan request → whatever its pipeline and its mode call for."""

from contracts.runs import PlanRun, RunMode
from services.planner.ports import Ports
from services.planner.use_case.chunks import plan_chunked
from services.planner.use_case.collect import collect
from services.planner.use_case.group import land_group, members_of
from services.planner.use_case.land import land
from services.planner.use_case.replay import replay_fetched
from services.planner.use_case.scan import scan
from services.runtime.failures import BadDeclarationError


async def plan_run(ports: Ports, request: PlanRun, *, receives: int = 1) -> None:
    """Plan a run and dispatch it; a request that was carried out before changes nothing.

    ``receives`` counts how often the request was handed out, this time included.

    Raises:
        BadDeclarationError: there is no such pipeline, group or chunked job.
        TemporaryError: the pipeline's present run has not ended, or the source does not answer; ask again.
    """
    jobs = {} if ports.chunked is None else ports.chunked.jobs
    if ports.chunked is not None and request.pipeline in jobs:
        await plan_chunked(ports, ports.chunked, jobs[request.pipeline], request, receives=receives)
        return
    pipeline = ports.pipelines.get(request.pipeline)
    if pipeline is None and (members := members_of(ports, request.pipeline)):
        await land_group(ports, members, request, receives=receives)
        return
    if pipeline is None:
        known = sorted([*ports.pipelines, *jobs])
        raise BadDeclarationError(f"there is no pipeline {request.pipeline!r}; there are {known}")
    if pipeline.is_landed:
        await land(ports, pipeline, request, receives=receives)
    elif not pipeline.is_collected:
        await scan(ports, pipeline, request)
    elif request.mode is RunMode.REPLAY:
        await replay_fetched(ports, pipeline, request)
    else:
        await collect(ports, pipeline, request, receives=receives)
