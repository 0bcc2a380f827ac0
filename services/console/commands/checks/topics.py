"""Topics, who is subscribed to them, and in which form they deliver."""

from typing import Any

from contracts.topology import Subscription
from services.console.commands.checks.findings import (
    DEPLOY,
    OK,
    Finding,
    Verdict,
    failed,
    line,
    looked,
    refusal,
    unchecked,
)
from services.console.commands.checks.world import World
from services.runtime.aws.errors import translated
from services.runtime.failures import TidegateError


async def check_topics(world: World) -> list[Finding]:
    """A line for each topic and each subscription."""
    try:
        arns = await _arns(world)
    except TidegateError as error:
        return [line("topics", refusal(error))]
    found = [
        line(f"topic {topic.name}", OK if world.name(topic.name) in arns else failed("it is not there", DEPLOY))
        for topic in world.topology.topics
    ]
    for each in world.topology.subscriptions:
        check = f"subscription {each.topic} to {each.queue}"
        arn = arns.get(world.name(each.topic))
        if arn is None:
            found.append(line(check, unchecked("its topic is not there")))
        else:
            found.append(await looked(check, _subscription(world, each, arn)))
    return found


async def _arns(world: World) -> dict[str, str]:
    arns: dict[str, str] = {}
    with translated("list topics"):
        async for page in world.clients.sns.get_paginator("list_topics").paginate():
            arns |= {topic["TopicArn"].rpartition(":")[2]: topic["TopicArn"] for topic in page["Topics"]}
    return arns


async def _subscription(world: World, subscription: Subscription, topic_arn: str) -> Verdict:
    sns, queue = world.clients.sns, world.name(subscription.queue)
    with translated(f"list the subscriptions of topic {subscription.topic}"):
        async for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn):
            for each in page["Subscriptions"]:
                if each["Protocol"] == "sqs" and each["Endpoint"].rpartition(":")[2] == queue:
                    answer: Any = await sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])
                    return _delivery(answer["Attributes"])
    return failed(f"topic {subscription.topic} does not feed queue {subscription.queue}", DEPLOY)


def _delivery(attributes: dict[str, str]) -> Verdict:
    if attributes.get("RawMessageDelivery") == "true":
        return OK
    return failed("it wraps messages, and no service unwraps them", "set RawMessageDelivery to true")
