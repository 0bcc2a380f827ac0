"""The worker deployment's S3, SNS, SQS and Step Functions on LocalStack 4.7, started from its own environment."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from random import Random

import pytest

from contracts.segments import Occurrence
from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from services.console.local.environment import pointed_at
from services.console.local.machines import definition_of, machine_arn
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from services.runtime.failures import ConflictError
from services.runtime.multipart import PART_MIN
from services.runtime.notifications import read_notification
from tests.integration.append_rows import Checkpoint, rows_at, seconds
from tests.integration.machine_support import (
    CHUNKED,
    Failure,
    Machines,
    all_well,
    check_chunks,
    check_failures,
    check_one_piece,
    check_pause,
    output_of,
)
from tests.localstack_support import READY_D, running_localstack

pytestmark = pytest.mark.localstack


@pytest.fixture(scope="module")
def localstack(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """LocalStack for the module; the environment that points at it."""
    with running_localstack(emulator, tmp_path_factory.mktemp("localstack")) as environ:
        yield environ


@pytest.fixture
async def on_localstack(localstack: Mapping[str, str]) -> AsyncIterator[Clients]:
    """Clients on LocalStack, with DynamoDB on the emulator."""
    with pointed_at(localstack):
        async with Clients() as clients:
            yield clients


async def upload_and_receive(clients: Clients, stack: str, key: str) -> list[Occurrence]:
    """Put an object and take what arrives for it in the validator's queue within ten seconds."""
    url = (await clients.sqs.get_queue_url(QueueName=f"{stack}-validate-objects"))["QueueUrl"]
    await clients.s3.put_object(Bucket=f"{stack}-raw", Key=key, Body=b"{}")
    arrived: list[Occurrence] = []
    for _ in range(5):
        answer = await clients.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            arrived.extend(read_notification(message["Body"]))
            await clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if arrived:
            break
    return arrived


async def test_the_init_hook_wires_an_upload_to_the_validator(
    on_localstack: Clients, localstack: Mapping[str, str]
) -> None:
    """Object created → topic → queue, read as the validator reads it, with the version id."""
    [occurrence] = await upload_and_receive(on_localstack, localstack["TIDEGATE_STACK"], "logs/a b.json")
    assert occurrence.key == "logs/a b.json"
    assert occurrence.version_id
    for table in TOPOLOGY.tables:
        name = f"{localstack['TIDEGATE_STACK']}-{table.name}"
        assert (await on_localstack.dynamodb.describe_table(TableName=name))["Table"]["TableStatus"] == "ACTIVE"


async def test_both_provisioners_agree(on_localstack: Clients, localstack: Mapping[str, str]) -> None:
    """The hook again from outside, then the embedded stack's: neither errs, doubles or undoes anything."""
    stack = localstack["TIDEGATE_STACK"]
    environ = {"PATH": os.environ["PATH"], **localstack}
    again = await asyncio.create_subprocess_exec(
        sys.executable, str(READY_D / "provision.py"), env=environ, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await again.communicate()
    assert again.returncode == 0
    assert b"is provisioned" in said
    url = (await on_localstack.sqs.get_queue_url(QueueName=f"{stack}-chunk-jobs"))["QueueUrl"]
    for machine in TOPOLOGY.state_machines:
        arn = await machine_arn(on_localstack, f"{stack}-{machine.name}")
        made = await on_localstack.stepfunctions.describe_state_machine(stateMachineArn=arn)
        assert made["definition"] == definition_of(machine, url)
    await provision(on_localstack, stack, TOPOLOGY)
    assert len((await on_localstack.sns.list_subscriptions())["Subscriptions"]) == len(TOPOLOGY.subscriptions)
    assert len(await upload_and_receive(on_localstack, stack, "logs/once.json")) == 1
    machines = (await on_localstack.stepfunctions.list_state_machines())["stateMachines"]
    assert {each["name"] for each in machines} == {f"{stack}-{each.name}" for each in TOPOLOGY.state_machines}


async def test_the_embedded_stacks_provisioner_alone(on_localstack: Clients) -> None:
    """It creates a whole stack on LocalStack, not only what the hook made."""
    await provision(on_localstack, "second", TOPOLOGY)
    assert len(await upload_and_receive(on_localstack, "second", "k.json")) == 1
    answer = await on_localstack.sqs.get_queue_attributes(
        QueueUrl=(await on_localstack.sqs.get_queue_url(QueueName="second-merge-segments"))["QueueUrl"],
        AttributeNames=["All"],
    )
    queue = TOPOLOGY.queue("merge-segments")
    assert int(answer["Attributes"]["VisibilityTimeout"]) == queue.visibility_timeout_s
    assert int(json.loads(answer["Attributes"]["RedrivePolicy"])["maxReceiveCount"]) == queue.max_receives


async def test_a_checkpoint_is_appended_to(on_localstack: Clients, localstack: Mapping[str, str]) -> None:
    """More than 5 MiB of it are copied inside S3; who comes too late is refused; late rows and versions come back."""
    random = Random(5)  # noqa: S311 - to be the same every time
    checkpoint = Checkpoint(on_localstack, f"{localstack['TIDEGATE_STACK']}-checkpoints")
    await checkpoint.merge(rows_at(seconds(0, 14_000), random), "c1")
    loser_rows = rows_at(seconds(14_000, 7), random)
    loser = await checkpoint.prepare(loser_rows, "loser")
    await checkpoint.merge(rows_at(seconds(13_999, 100), random), "c2")
    await checkpoint.check()
    with pytest.raises(ConflictError):
        await loser.put({"commit": "loser"})
    await checkpoint.merge_despite_death(loser_rows, "c3", 9)
    await checkpoint.merge(rows_at(seconds(13_500, 5), random), "c4")
    await checkpoint.check()
    await checkpoint.restore(1, "c5")
    await checkpoint.check()
    assert checkpoint.history[0][0].size > PART_MIN
    assert all("-" in info.etag for info, _ in checkpoint.history[1:]), "not put together from parts"


@pytest.fixture
async def machines(on_localstack: Clients) -> Machines:
    """State machines of a stack of their own, some with shorter waits."""
    await provision(on_localstack, "machines", TOPOLOGY)
    return Machines(on_localstack, "machines")


async def test_state_machines_run_as_declared(machines: Machines) -> None:
    """Both definitions are taken as they are, and their messages can be read."""
    await check_chunks(machines)
    await check_one_piece(machines)


async def test_state_machines_go_by_the_names_of_errors(machines: Machines) -> None:
    """What is retried, and how often, is the same as on the emulator."""
    await machines.hurried(CHUNKED, interval_s=1)
    await check_failures(machines)
    await check_pause(machines)
    ended, worker = await machines.run(CHUNKED, all_well("a", but={"a": lambda _: Failure("RunCancelled", "by hand")}))
    assert (ended["error"], ended["cause"], worker.times()["a"]) == ("RunCancelled", "by hand", 1)


async def test_a_worker_that_falls_silent_is_replaced(machines: Machines) -> None:
    """A chunk without heartbeats is sent again; heartbeats keep one alive for longer than the limit."""
    await machines.hurried(CHUNKED, interval_s=1, heartbeat_s=2)
    ended, worker = await machines.run(CHUNKED, all_well("a", but={"a": lambda n: None if n == 1 else {"rows": 3}}))
    assert output_of(ended)["task02_results"]["chunks"] == [{"chunk_id": "a", "status": "success", "rows": 3}]
    assert worker.times()["a"] == 2
    ended, worker = await machines.run(CHUNKED, all_well("a"), heartbeats=6)
    output_of(ended)
    assert worker.times()["a"] == 1
