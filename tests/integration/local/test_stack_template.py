"""The stacks that tests get are what provisioning makes."""

import asyncio
import json
from typing import Any

import pytest

from contracts.topology import TOPOLOGY
from services.console.local.documents import lifecycle
from services.console.local.emulator import Emulator
from services.runtime.aws.clients import Clients, sdk_session
from tests.emulator_support import Stack, new_stack, provision_anew, provision_now

_OF_THE_MOMENT = (
    "Timestamp",
    "NumberOfMessages",
    "DateTime",
    "date",
    "Date",
    "Id",
    "ResponseMetadata",
    "TableArn",
    "LatestStreamArn",
)


async def seen(stack: Stack) -> str:
    """Everything that can be read of a stack, without moments and ids, under a name that no stack has."""
    found: dict[str, Any] = {}
    async with Clients() as clients, sdk_session().client("iam") as iam:
        for queue in TOPOLOGY.queues:
            for name in (queue.name, f"{queue.name}-dlq"):
                url = (await clients.sqs.get_queue_url(QueueName=stack.resource(name)))["QueueUrl"]
                found[f"queue {name}"] = await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        for listed in (await clients.sns.list_topics())["Topics"]:
            arn = listed["TopicArn"]
            found[f"topic {arn}"] = await clients.sns.get_topic_attributes(TopicArn=arn)
            subscribed = (await clients.sns.list_subscriptions_by_topic(TopicArn=arn))["Subscriptions"]
            for one in subscribed:
                settings = await clients.sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])
                settings["Attributes"].pop("SubscriptionArn")
                found[f"subscription of {arn} to {one['Endpoint']}"] = settings
        for table in TOPOLOGY.tables:
            name = stack.resource(table.name)
            found[f"table {name}"] = await clients.dynamodb.describe_table(TableName=name)
            found[f"ages in {name}"] = await clients.dynamodb.describe_time_to_live(TableName=name)
        for bucket in TOPOLOGY.buckets:
            name = stack.resource(bucket.name)
            found[f"versions in {name}"] = await clients.s3.get_bucket_versioning(Bucket=name)
            found[f"facts of {name}"] = await clients.s3.get_bucket_notification_configuration(Bucket=name)
            if lifecycle(bucket):
                found[f"ages in {name}"] = await clients.s3.get_bucket_lifecycle_configuration(Bucket=name)
        for machine in (await clients.stepfunctions.list_state_machines())["stateMachines"]:
            arn = machine["stateMachineArn"]
            found[f"machine {arn}"] = await clients.stepfunctions.describe_state_machine(stateMachineArn=arn)
        role = stack.resource("state-machines")
        found["role"] = await iam.get_role(RoleName=role)
        found["rights"] = await iam.get_role_policy(RoleName=role, PolicyName="send")
    return (
        json.dumps(_lasting(found), default=str, indent=1, sort_keys=True)
        .replace(stack.name, "STACK")
        .replace(stack.account, "ACCOUNT")
    )


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(item) for name, item in value.items() if not name.endswith(_OF_THE_MOMENT)}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def test_a_stack_after_the_pattern_of_another_is_the_same(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues, topics, tables, buckets, facts, machines and rights are as if each had been provisioned by itself."""
    looks = []
    for make in (provision_anew, provision_now, provision_now):
        stack = new_stack(emulator)
        for name, value in stack.environ.items():
            monkeypatch.setenv(name, value)
        make(stack)
        looks.append(asyncio.run(seen(stack)))
    assert len(looks[0]) > 10_000
    assert looks[0] == looks[1] == looks[2]
