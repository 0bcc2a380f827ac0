"""A run of a group → one run that stands for all of it, and a request to the planner for each entity.

Order of effects: run → requests. A repetition sends them again: each entity's run is opened once. From then on the
entities do not know of one another; whichever ends last ends the group's run.
"""

import structlog

from contracts.pipelines import Pipeline
from contracts.plans import PlanPreview
from contracts.runs import LoadPayload, LoadType, PlanRun, RunMode, RunState
from contracts.targets import BronzeTarget
from services.planner.core.loads import child_run, mode_of_load
from services.planner.core.previews import preview_of_failure, preview_of_group
from services.planner.ports import Landing, Ports
from services.planner.use_case.land import load_of, preview
from services.planner.use_case.opening import opened
from services.runtime.failures import BadDeclarationError
from services.runtime.ledger import Run

log = structlog.get_logger()

PLAN_QUEUE = "plan-requests"


def members_of(ports: Ports, name: str) -> dict[str, Pipeline]:
    """The pipelines of a group's entities, by entity; none where there is no such group."""
    return {each.name.rpartition(".")[2]: each for each in ports.pipelines.values() if each.group == name}


async def land_group(ports: Ports, members: dict[str, Pipeline], request: PlanRun, *, receives: int) -> None:
    """Open the run of a group and ask for a run of each of its entities; a dry run is only shown.

    Raises:
        BadDeclarationError: this planner lands no entities, or the request is for a replay.
        TemporaryError: a dry run's source does not answer; ask again.
    """
    if ports.landing is None:
        raise BadDeclarationError(f"this planner does not land entities, and so not those of {request.pipeline!r}")
    if request.mode is RunMode.REPLAY:
        raise BadDeclarationError(f"{request.pipeline}: loads are not replayed; run them again, they read anew")
    unknown = sorted(set(request.entities) - set(members))
    asked = [entity for entity in members if not request.entities or entity in request.entities]
    mistake = f"{request.pipeline} has no entities {unknown}; it has {sorted(members)}" if unknown else None
    if request.dry_run:
        await _preview(ports, {entity: members[entity] for entity in asked}, request, mistake, receives)
        return
    run = await opened(ports, _new_run(ports, ports.landing, members, [] if mistake else asked, request))
    if mistake is not None and not run.children:
        await ports.completion.fail(run, mistake)
        return
    if run.state is not RunState.PLANNING:
        log.info("run of a group is planned already", run_id=run.run_id, state=run.state)
        return
    entities = [child.removeprefix(child_run(run.run_id, "")) for child in run.children]
    # What the run was opened with: what a request without a load type means may have been set anew meanwhile.
    settled = request.model_copy(update={"load": LoadPayload(load_type=LoadType(run.mode.value))})
    requests = [_request(settled, entity) for entity in entities]
    await ports.publisher.send(PLAN_QUEUE, requests, run_id=run.run_id)
    log.info("run of a group dispatched", run_id=run.run_id, entities=entities)


def _new_run(ports: Ports, tools: Landing, members: dict[str, Pipeline], entities: list[str], request: PlanRun) -> Run:
    now = ports.clock.now()
    any_member = next(iter(members.values()))
    target, bucket = any_member.target, ports.target_bucket(any_member)
    if not isinstance(target, BronzeTarget):
        raise BadDeclarationError(f"{any_member.name} is not landed in bronze")
    return Run(
        run_id=request.run_id,
        pipeline=request.pipeline,
        mode=mode_of_load(request.load.load_type or tools.default_load),
        state=RunState.PLANNING,
        started_at=now.isoformat(),
        destination=f"s3://{bucket}/{target.prefix}",
        children=tuple(child_run(request.run_id, entity) for entity in entities),
        log=f"{bucket}/{target.logs}{now:%Y-%m-%d}/{request.run_id}.log",
    )


def _request(request: PlanRun, entity: str) -> PlanRun:
    return PlanRun(
        pipeline=f"{request.pipeline}.{entity}",
        run_id=child_run(request.run_id, entity),
        mode=request.mode,
        load=request.load,
        parent=request.run_id,
        dry_run=request.dry_run,
    )


async def _preview(
    ports: Ports, members: dict[str, Pipeline], request: PlanRun, mistake: str | None, receives: int
) -> None:
    """Show each entity's plan under the run it would have, and all of them under the group's."""
    if mistake is not None:
        await ports.plans.show(preview_of_failure(request, request.mode, mistake))
        return
    shown: dict[str, PlanPreview] = {}
    for entity, pipeline in members.items():
        shown[entity] = await preview(load_of(ports, pipeline, _request(request, entity)), receives=receives)
        await ports.plans.show(shown[entity])
    await ports.plans.show(preview_of_group(request, shown))
