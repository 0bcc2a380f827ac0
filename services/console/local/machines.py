"""State machines of a stack: their definitions, created where they are missing, and run by their logical names."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from contracts.envelope import Json
from contracts.topology import StateMachine
from services.runtime.aws.clients import Clients, sdk_session
from services.runtime.aws.errors import code_of, translated
from services.runtime.failures import BadDeclarationError, MissingObjectError, TemporaryError
from services.runtime.settings import PROJECT

if TYPE_CHECKING:
    from types_aiobotocore_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

DEFINITIONS = PROJECT / "infra" / "terraform" / "modules" / "state_machine"
RUN_WITHIN_S = 600.0
_POLL_S = 0.2
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def render(definition: str, **values: str) -> str:
    """A definition with its ``${…}`` filled in, as Terraform's ``templatefile`` does it.

    Raises:
        BadDeclarationError: a placeholder has no value, a value has no placeholder, or the outcome is not JSON.
    """
    named = set(_PLACEHOLDER.findall(definition))
    if named != set(values):
        raise BadDeclarationError(f"the definition has {sorted(named)} to fill in, given were {sorted(values)}")
    text = _PLACEHOLDER.sub(lambda found: values[found[1]], definition)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise BadDeclarationError(f"the definition is not JSON: {error}") from error
    return text


def definition_of(machine: StateMachine, queue_url: str, folder: Path = DEFINITIONS) -> str:
    """What a declared state machine does, as Step Functions takes it.

    Raises:
        BadDeclarationError: there is no such file, or it cannot be filled in.
    """
    path = folder / machine.definition
    try:
        template = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadDeclarationError(f"{path}: {error.strerror}") from error
    return render(template, queue_url=queue_url, pipeline=machine.pipeline)


async def create_machines(
    clients: Clients, stack: str, machines: Sequence[StateMachine], queues: dict[str, tuple[str, str]]
) -> None:
    """Create the state machines and the role that they have, or bring them to what is declared.

    ``queues`` gives the URL and ARN of each queue by its logical name.

    Raises:
        BadDeclarationError: a definition is wrong.
        AccessDeniedError, PermanentError, TemporaryError, UnreachableError: AWS refused, or gave no answer.
    """
    if not machines:
        return
    role = await _create_role(f"{stack}-state-machines", sorted({queues[each.queue][1] for each in machines}))
    for machine in machines:
        url, _ = queues[machine.queue]
        await _create_machine(clients, f"{stack}-{machine.name}", definition_of(machine, url), role)


async def _create_role(name: str, queues: list[str]) -> str:
    """ARN of a role that Step Functions may take on, and that may send to these queues and nothing else."""
    trust = _policy({"Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"})
    iam: Any
    with translated(f"create role {name}"):
        async with sdk_session().client("iam") as iam:
            try:
                role = (await iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust))["Role"]
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
                role = (await iam.get_role(RoleName=name))["Role"]
            document = _policy({"Action": "sqs:SendMessage", "Resource": queues})
            await iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=document)
    return str(role["Arn"])


async def _create_machine(clients: Clients, name: str, definition: str, role: str) -> None:
    sfn = clients.stepfunctions
    with translated(f"create state machine {name}"):
        try:
            await sfn.create_state_machine(name=name, definition=definition, roleArn=role)
        except ClientError as error:
            if code_of(error) != "StateMachineAlreadyExists":
                raise
            arn = await machine_arn(clients, name)
            await sfn.update_state_machine(stateMachineArn=arn, definition=definition, roleArn=role)


async def machine_arn(clients: Clients, name: str) -> str:
    """The ARN of a state machine by its deployed name.

    Raises:
        MissingObjectError: there is none.
    """
    with translated("list state machines"):
        async for page in clients.stepfunctions.get_paginator("list_state_machines").paginate():
            for machine in page["stateMachines"]:
                if machine["name"] == name:
                    return machine["stateMachineArn"]
    raise MissingObjectError(f"there is no state machine {name}")


async def start_execution(
    clients: Clients, stack: str, name: str, document: Json, *, execution: str | None = None
) -> str:
    """Start a state machine by its logical name; the execution's ARN.

    ``document`` is the input: ``run_id`` goes on with that run (default: a run that is called as the execution is),
    ``chunk`` overrides days and sizes. ``execution`` is the execution's name (default: one that Step Functions makes).

    Raises:
        MissingObjectError: there is no such state machine.
        PermanentError: AWS refused, for instance because there is an execution of this name.
    """
    arn = await machine_arn(clients, f"{stack}-{name}")
    named = {"name": execution} if execution is not None else {}
    with translated(f"start an execution of {stack}-{name}"):
        started = await clients.stepfunctions.start_execution(stateMachineArn=arn, input=json.dumps(document), **named)
    return started["executionArn"]


async def await_execution(
    clients: Clients, arn: str, *, deadline_s: float = RUN_WITHIN_S
) -> "DescribeExecutionOutputTypeDef":
    """Wait until an execution has ended, for ``deadline_s`` seconds at most; its final description.

    Raises:
        TemporaryError: it has not ended by then; it goes on.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        with translated(f"describe execution {arn}"):
            found = await clients.stepfunctions.describe_execution(executionArn=arn)
        if found["status"] not in {"RUNNING", "PENDING_REDRIVE"}:
            return found
        if time.monotonic() > deadline:
            raise TemporaryError(f"execution {arn} has not ended within {deadline_s:.0f} s; it goes on")
        await asyncio.sleep(_POLL_S)


async def run_execution(
    clients: Clients, stack: str, name: str, document: Json, *, deadline_s: float = RUN_WITHIN_S
) -> "DescribeExecutionOutputTypeDef":
    """Start a state machine by its logical name and wait for its end; see start_execution and await_execution."""
    return await await_execution(clients, await start_execution(clients, stack, name, document), deadline_s=deadline_s)


def _policy(statement: Json) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
