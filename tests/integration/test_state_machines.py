"""The state machines on the emulator, with a worker that answers by a script."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aioboto3
import pytest

from contracts.topology import TOPOLOGY, StateMachine
from services.console.local.machines import machine_arn, run_execution
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from services.runtime.failures import BadDeclarationError, MissingObjectError, TemporaryError
from tests.emulator_support import Stack
from tests.integration.machine_support import (
    CHUNKED,
    IN_ONE_PIECE,
    Failure,
    Machines,
    all_well,
    check_chunks,
    check_failures,
    check_one_piece,
    check_pause,
    output_of,
)

ONLY = TOPOLOGY.model_copy(
    update={kind: [] for kind in ("tables", "buckets", "topics", "subscriptions", "schedules")}
    | {"queues": [TOPOLOGY.queue("chunk-jobs")]}
)
"""What state machines need, in a fraction of a whole stack's time."""


@pytest.fixture
async def machines(empty_stack: Stack) -> AsyncIterator[Machines]:
    async with Clients("sqs", "stepfunctions") as clients:
        await provision(clients, empty_stack.name, ONLY)
        yield Machines(clients, empty_stack.name)


async def test_five_chunks_are_out_at_the_same_time(machines: Machines) -> None:
    """Five and no more; every one is worked on once, under the run that the execution names."""
    await check_chunks(machines)


async def test_a_job_in_one_piece(machines: Machines) -> None:
    """Three actions, for the run and with the settings that the input gives."""
    await check_one_piece(machines)


async def test_chunks_that_fail(machines: Machines) -> None:
    """ChunkRetry brings a chunk back three times, ChunkFailed never; siblings are worked on before the run fails."""
    await machines.hurried(CHUNKED)
    await check_failures(machines)


async def test_a_paused_run_waits(machines: Machines) -> None:
    """RunPaused is asked again and again, and takes nothing from the attempts of the chunk."""
    await machines.hurried(CHUNKED)
    await check_pause(machines)


async def test_the_only_chunk_fails(machines: Machines) -> None:
    """A single result is judged like many."""
    ended, worker = await machines.run(CHUNKED, all_well("a", but={"a": lambda _: Failure("ChunkFailed")}))
    assert (ended["status"], ended["error"]) == ("FAILED", "ChunksFailed")
    assert worker.times()["a"] == 1


async def test_nothing_to_do_is_a_success(machines: Machines) -> None:
    """A plan without chunks, or one whose chunks are all done, sends no chunk at all."""
    ended, worker = await machines.run(CHUNKED, all_well())
    assert output_of(ended)["task02_chunks"]["chunk_ids"] == []
    assert worker.names == ["validate_config", "task_01", "get_task02_chunks"]


async def test_an_action_that_fails_for_good_is_not_repeated(machines: Machines) -> None:
    """ActionFailed ends the execution with the worker's own words."""
    script = all_well(but={"task_01": lambda _: Failure("ActionFailed", "no such table")})
    ended, worker = await machines.run(IN_ONE_PIECE, script)
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "ActionFailed", "no such table")
    assert worker.names == ["validate_config", "task_01"]


async def test_a_cancelled_run_ends_its_execution(machines: Machines) -> None:
    """RunCancelled is neither retried nor counted as a failed chunk."""
    ended, worker = await machines.run(CHUNKED, all_well("a", but={"a": lambda _: Failure("RunCancelled", "by hand")}))
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "RunCancelled", "by hand")
    assert worker.times()["a"] == 1


async def test_an_answer_that_comes_twice_is_refused(machines: Machines) -> None:
    """The first answer to a task counts; nobody waits for another."""
    ended, worker = await machines.run(IN_ONE_PIECE, all_well())
    output_of(ended)
    token = worker.seen[0][1].task_token
    assert token is not None
    with pytest.raises(machines.clients.stepfunctions.exceptions.TaskDoesNotExist):
        await machines.clients.stepfunctions.send_task_success(taskToken=token, output="{}")


async def test_a_run_id_must_be_text(machines: Machines) -> None:
    """Anything else is refused before a message is sent that no worker could read."""
    ended, worker = await machines.run(IN_ONE_PIECE, all_well(), {"run_id": 7})
    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidInput")
    assert worker.seen == []


async def test_an_execution_that_takes_too_long_goes_on(machines: Machines) -> None:
    """Whoever waits for an end gets an error after the deadline; the execution is left alone."""
    with pytest.raises(TemporaryError, match="goes on"):
        await run_execution(machines.clients, machines.stack, IN_ONE_PIECE, {}, deadline_s=0.1)
    arn = await machine_arn(machines.clients, f"{machines.stack}-{IN_ONE_PIECE}")
    [execution] = (await machines.clients.stepfunctions.list_executions(stateMachineArn=arn))["executions"]
    assert execution["status"] == "RUNNING"
    await machines.clients.stepfunctions.stop_execution(executionArn=execution["executionArn"])


async def test_a_name_that_nobody_has(machines: Machines) -> None:
    """Looking up a state machine that is not there says which one."""
    with pytest.raises(MissingObjectError, match=f"{machines.stack}-other"):
        await run_execution(machines.clients, machines.stack, "other", {})


async def test_provisioning_again_brings_a_changed_definition_back(machines: Machines) -> None:
    """What somebody changed by hand is as declared afterwards; there is one role, which may send to the queue only."""
    arn = await machine_arn(machines.clients, f"{machines.stack}-{IN_ONE_PIECE}")
    declared = (await machines.clients.stepfunctions.describe_state_machine(stateMachineArn=arn))["definition"]
    other = json.dumps({"StartAt": "S", "States": {"S": {"Type": "Succeed"}}})
    await machines.clients.stepfunctions.update_state_machine(stateMachineArn=arn, definition=other)
    await provision(machines.clients, machines.stack, ONLY)
    again = await machines.clients.stepfunctions.describe_state_machine(stateMachineArn=arn)
    assert again["definition"] == declared
    present = (await machines.clients.stepfunctions.list_state_machines())["stateMachines"]
    assert len(present) == len(TOPOLOGY.state_machines)
    iam: Any
    async with aioboto3.Session().client("iam") as iam:
        role = f"{machines.stack}-state-machines"
        assert (await iam.get_role(RoleName=role))["Role"]["Arn"] == again["roleArn"]
        [statement] = (await iam.get_role_policy(RoleName=role, PolicyName="send"))["PolicyDocument"]["Statement"]
    url = (await machines.clients.sqs.get_queue_url(QueueName=f"{machines.stack}-chunk-jobs"))["QueueUrl"]
    found = await machines.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    queues = [found["Attributes"]["QueueArn"]]
    assert statement == {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": queues}


async def test_a_definition_that_is_not_there(machines: Machines) -> None:
    """One clear error with the file's name."""
    lost = StateMachine(name="lost", pipeline="conflict_report", definition="lost.asl.json")
    with pytest.raises(BadDeclarationError, match=r"lost\.asl\.json: No such file"):
        await provision(machines.clients, machines.stack, ONLY.model_copy(update={"state_machines": [lost]}))
