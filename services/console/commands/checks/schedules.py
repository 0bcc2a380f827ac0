"""Schedules and state machines."""

import json
from typing import Any

from contracts.topology import Schedule, StateMachine
from services.console.commands.checks.findings import (
    DEPLOY,
    OK,
    Finding,
    Verdict,
    aspects,
    failed,
    line,
    looked,
    require,
    unchecked,
    warned,
)
from services.console.commands.checks.world import World
from services.console.local.machines import definition_of, machine_arn
from services.runtime.aws.errors import translated
from services.runtime.failures import MissingObjectError, TidegateError

DROPPED = "schedules-dlq"
"""Where the scheduler puts what it cannot deliver; Terraform makes it with the schedules."""


async def check_schedules(world: World) -> list[Finding]:
    """A line for each schedule; an endpoint that is not AWS need not have any."""
    if not world.is_aws and await _none_at_all(world):
        why = unchecked("no schedules at this endpoint: runs begin with `tidegate run`")
        return [line(f"schedule {each.name}", why) for each in world.topology.schedules]
    found = [await looked(f"schedule {each.name}", _schedule(world, each)) for each in world.topology.schedules]
    return [*found, await looked(f"queue {DROPPED}: is empty", _dropped(world))]


async def _dropped(world: World) -> Verdict:
    waiting = int((await world.queue(DROPPED)).get("ApproximateNumberOfMessages", 0))
    if not waiting:
        return OK
    return warned(f"{waiting} slots could not be delivered", "start what they ask for: tidegate run PIPELINE")


async def _none_at_all(world: World) -> bool:
    try:
        with translated("list schedules"):
            answer = await world.scheduler.list_schedules(GroupName=world.settings.stack, MaxResults=1)
    except MissingObjectError:
        return True
    except TidegateError:  # each look says by itself why it could not be taken
        return False
    return not answer["Schedules"]


async def _schedule(world: World, schedule: Schedule) -> Verdict:
    with translated(f"get schedule {schedule.name}"):
        have: dict[str, Any] = await world.scheduler.get_schedule(GroupName=world.settings.stack, Name=schedule.name)
    return judge(have, schedule, world.name(schedule.queue))


def judge(have: dict[str, Any], schedule: Schedule, queue: str) -> Verdict:
    """Whether a schedule sends its command when and where it is declared to."""
    when = (have["ScheduleExpression"], have.get("ScheduleExpressionTimezone", "UTC"))
    declared = (schedule.expression, schedule.timezone)
    target = have["Target"]
    if when != declared:
        return failed(f"it is {' in '.join(when)}", f"set it to {' in '.join(declared)}")
    if target["Arn"].rpartition(":")[2] != queue:
        return failed(f"it sends to {target['Arn']}", f"let it send to {queue}")
    if f'"pipeline":"{schedule.pipeline}"' not in "".join(target.get("Input", "").split()):
        return failed(f"its message does not name {schedule.pipeline}", DEPLOY)
    if have.get("State", "ENABLED") != "ENABLED":
        return warned("it is disabled", f"enable it, or start runs with: tidegate run {schedule.pipeline}")
    return OK


async def check_machines(world: World) -> list[Finding]:
    """A line for each state machine and its definition."""
    found = []
    for machine in world.topology.state_machines:
        url = await _queue_url(world, machine)
        _, lines = await aspects(
            f"state machine {machine.name}",
            _describe(world, machine),
            {"definition": lambda have, m=machine, u=url: _definition(have, m, u)},  # type: ignore[misc]
        )
        found += lines
    return found


async def _queue_url(world: World, machine: StateMachine) -> str | None:
    try:
        with translated(f"look up queue {machine.queue}"):
            return (await world.clients.sqs.get_queue_url(QueueName=world.name(machine.queue)))["QueueUrl"]
    except MissingObjectError:
        return None


async def _describe(world: World, machine: StateMachine) -> str:
    arn = await machine_arn(world.clients, world.name(machine.name))
    with translated(f"describe state machine {machine.name}"):
        return (await world.clients.stepfunctions.describe_state_machine(stateMachineArn=arn))["definition"]


def _definition(have: str, machine: StateMachine, queue_url: str | None) -> Verdict:
    if queue_url is None:
        return unchecked("its queue is not there")
    same = bool(json.loads(have) == json.loads(definition_of(machine, queue_url)))
    return require(same, f"it is not what {machine.definition} says", DEPLOY)
