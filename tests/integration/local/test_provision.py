import asyncio
import json
from pathlib import Path

import pytest

from contracts.topology import TOPOLOGY
from services.console.local.provision import load_topology, provision
from services.runtime.aws.clients import Clients
from services.runtime.failures import BadDeclarationError, UnreachableError
from tests.emulator_support import Stack, provision_anew


@pytest.fixture
def stack(empty_stack: Stack) -> Stack:
    """Made by the code under test, not after the pattern of another test's."""
    provision_anew(empty_stack)
    return empty_stack


async def receive(clients: Clients, url: str) -> list[dict[str, object]]:
    """Bodies that arrive within two seconds, taken off the queue."""
    answer = await clients.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10)
    for message in answer.get("Messages", []):
        await clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


async def queue_url(clients: Clients, stack: Stack, name: str) -> str:
    return (await clients.sqs.get_queue_url(QueueName=stack.resource(name)))["QueueUrl"]


async def test_an_upload_reaches_the_validator_as_a_raw_s3_event(clients: Clients, stack: Stack) -> None:
    """Object created → topic → queue, without the SNS wrapper, with the version id of a versioned bucket."""
    url = await queue_url(clients, stack, "validate-objects")
    put = await clients.s3.put_object(Bucket=stack.resource("raw"), Key="logs/a b.json", Body=b"{}")
    records: list[dict[str, object]] = []
    for _ in range(5):
        for body in await receive(clients, url):
            if body.get("Event") != "s3:TestEvent":
                records.extend(body["Records"])  # type: ignore[arg-type]
        if records:
            break
    [record] = records
    assert record["s3"]["object"]["key"] == "logs/a+b.json"  # type: ignore[index]
    assert record["s3"]["object"]["versionId"] == put["VersionId"]  # type: ignore[index]


async def test_every_queue_has_its_declared_settings_and_a_dead_letter_queue(clients: Clients, stack: Stack) -> None:
    """Visibility, retention and the receive count before the DLQ are the declared ones."""
    for queue in TOPOLOGY.queues:
        dead_letters = await clients.sqs.get_queue_attributes(
            QueueUrl=await queue_url(clients, stack, f"{queue.name}-dlq"), AttributeNames=["All"]
        )
        answer = await clients.sqs.get_queue_attributes(
            QueueUrl=await queue_url(clients, stack, queue.name), AttributeNames=["All"]
        )
        redrive = json.loads(answer["Attributes"]["RedrivePolicy"])
        assert int(answer["Attributes"]["VisibilityTimeout"]) == queue.visibility_timeout_s
        assert int(dead_letters["Attributes"]["MessageRetentionPeriod"]) == queue.retention_s
        assert int(redrive["maxReceiveCount"]) == queue.max_receives
        assert redrive["deadLetterTargetArn"] == dead_letters["Attributes"]["QueueArn"]


async def test_tables_and_buckets_are_the_declared_ones(clients: Clients, stack: Stack) -> None:
    """Key schemas, versioning and the age at which objects go."""
    for table in TOPOLOGY.tables:
        described = (await clients.dynamodb.describe_table(TableName=stack.resource(table.name)))["Table"]
        expected = {table.partition_key.name: "HASH"}
        if table.sort_key:
            expected[table.sort_key.name] = "RANGE"
        assert {k["AttributeName"]: k["KeyType"] for k in described["KeySchema"]} == expected
    for bucket in TOPOLOGY.buckets:
        versioning = await clients.s3.get_bucket_versioning(Bucket=stack.resource(bucket.name))
        assert (versioning.get("Status") == "Enabled") == bucket.versioned
    rules = await clients.s3.get_bucket_lifecycle_configuration(Bucket=stack.resource("validated"))
    assert [rule["Expiration"]["Days"] for rule in rules["Rules"]] == [14]


async def test_provisioning_again_changes_nothing_and_sends_no_event(clients: Clients, stack: Stack) -> None:
    """A second pass keeps items and subscriptions and puts no further s3:TestEvent into the queues."""
    url = await queue_url(clients, stack, "validate-objects")
    await clients.dynamodb.put_item(TableName=stack.resource("watermarks"), Item={"watermark": {"S": "w"}})
    first = await receive(clients, url)
    assert [body["Event"] for body in first] == ["s3:TestEvent"]

    await provision(clients, stack.name, TOPOLOGY)

    assert await receive(clients, url) == []
    kept = await clients.dynamodb.get_item(TableName=stack.resource("watermarks"), Key={"watermark": {"S": "w"}})
    assert "Item" in kept
    subscriptions = (await clients.sns.list_subscriptions())["Subscriptions"]
    assert len(subscriptions) == len(TOPOLOGY.subscriptions)


async def test_several_at_once_agree(empty_stack: Stack) -> None:
    """Two processes that provision the same stack side by side both succeed."""
    async with Clients() as clients:
        await asyncio.gather(*(provision(clients, empty_stack.name, TOPOLOGY) for _ in range(3)))
        assert len((await clients.sns.list_topics())["Topics"]) == len(TOPOLOGY.topics)


async def test_progress_names_what_is_ready(empty_stack: Stack) -> None:
    """An operator sees a line for the tables and one for the rest."""
    lines: list[str] = []
    async with Clients() as clients:
        await provision(clients, empty_stack.name, TOPOLOGY, progress=lines.append)
    assert sorted(lines) == [f"{len(TOPOLOGY.tables)} tables", "buckets, queues and topics"]


async def test_no_answer_is_one_clear_error(empty_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead endpoint is an UnreachableError that names the resource, not a group of library errors."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with Clients(retries=1) as clients:
        with pytest.raises(UnreachableError, match="create"):
            await provision(clients, empty_stack.name, TOPOLOGY)


def test_a_wrong_topology_file_is_named(tmp_path: Path) -> None:
    """A missing or malformed export is a declaration error with the file's name."""
    path = tmp_path / "topology.json"
    with pytest.raises(BadDeclarationError, match=r"topology\.json"):
        load_topology(path)
    path.write_text('{"version": 0}')
    with pytest.raises(BadDeclarationError, match="version"):
        load_topology(path)
    path.write_text(TOPOLOGY.model_dump_json())
    assert load_topology(path) == TOPOLOGY
