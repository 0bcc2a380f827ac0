"""New objects are announced because two policies say so, the topic's and the queue's: neither is idle."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from contracts.topology import TOPOLOGY, Subscription
from tests.deploy.asking import Asking, eventually
from tests.deploy.forging import OFF

pytestmark = pytest.mark.deploy

NOBODY: str = json.dumps({"Version": "2012-10-17", "Statement": []})


@asynccontextmanager
async def without_policy(asking: Asking, kind: str, name: str) -> AsyncIterator[None]:
    """A topic or a queue that takes nothing from other services, for a block."""
    sns, sqs = asking.session.clients.sns, asking.session.clients.sqs
    if kind == "topic":
        topics = [page["TopicArn"] for page in (await sns.list_topics())["Topics"]]
        arn = next(each for each in topics if each.endswith(f":{asking.deployed.resource(name)}"))
        policy = (await sns.get_topic_attributes(TopicArn=arn))["Attributes"]["Policy"]
        await sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=NOBODY)
        try:
            yield
        finally:
            await sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
        return
    url = (await sqs.get_queue_url(QueueName=asking.deployed.resource(name)))["QueueUrl"]
    policy = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]))["Attributes"]["Policy"]
    await sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": NOBODY})
    try:
        yield
    finally:
        await sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


@pytest.mark.parametrize("kind", ["topic", "queue"])
@pytest.mark.parametrize("subscription", TOPOLOGY.subscriptions, ids=lambda each: each.queue)
async def test_a_policy_is_needed(asking: Asking, subscription: Subscription, kind: str) -> None:
    """An object that is put without it is not announced; the next one is, with it."""
    session, sqs = asking.session, asking.session.clients.sqs
    bucket = next(each.name for each in TOPOLOGY.buckets if each.notify_topic == subscription.topic)
    queue = next(each for each in TOPOLOGY.queues if each.name == subscription.queue)
    url = (await sqs.get_queue_url(QueueName=asking.deployed.resource(queue.name)))["QueueUrl"]
    unheard, heard = (f"{OFF}{uuid4().hex}.nobodys" for _ in range(2))
    seen: list[str] = []

    async def is_heard() -> bool:
        # Again and again: the function may have begun to ask its queue just before it was told to rest.
        await session.objects.put(session.settings.resource(bucket), heard, b"")
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1, WaitTimeSeconds=1)
        seen.extend(message["Body"] for message in answer.get("Messages", []))
        return any(heard in body for body in seen)

    async with asking.resting(queue.consumer):
        async with without_policy(asking, kind, getattr(subscription, kind)):
            await session.objects.put(session.settings.resource(bucket), unheard, b"")
        await eventually(is_heard, "the second object is announced")
    assert not any(unheard in body for body in seen)
