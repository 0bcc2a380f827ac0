"""What operators rely on in a deployed stack: dead letters, alarms, the doctor, a plan that finds nothing to do."""

import asyncio
import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from fnmatch import fnmatch
from uuid import uuid4

import pytest

from services.console.demo.visit_events import generate
from services.console.following import look
from services.console.session import Session
from services.runtime.settings import PROJECT
from tests.cli_support import done, tidegate
from tests.deploy.asking import Asking, eventually
from tests.deploy.cloud import CONCURRENCY, Deployed

pytestmark = pytest.mark.deploy

PIPELINE, QUEUE = "visit_events", "validate-objects"
DRIFT = re.compile(r"^\| `(aws_\w+)` \| `([^`]+)` \| (`[^|]+`) \|", re.MULTILINE)
"""A row of the table of what the emulator does not keep: type, addresses, attributes."""


async def merged(session: Session) -> int:
    """Records of the pipeline that were merged so far."""
    runs = [run.run_id for run in await session.ledger.runs() if run.pipeline == PIPELINE]
    return sum([(await look(session, run_id)).table.records for run_id in runs])


async def test_a_message_that_cannot_be_handled_comes_back_once_the_cause_is_mended(asking: Asking) -> None:
    """It is tried as often as the queue allows, with growing pauses of seconds, and then waits for an operator."""
    session = asking.session
    pipeline = session.pipeline(PIPELINE)
    upload = next(each for each in generate(7, 50) if each.expected == "merged")
    key = f"{pipeline.source.prefix}dead-{uuid4().hex[:8]}/{upload.name}"
    before = await merged(session)
    async with asking.without("validator", "service", "ValidatorReadsRaw"):
        await session.objects.put(session.source_bucket(pipeline), key, upload.body)

        async def given_up() -> bool:
            return await asking.count(f"{QUEUE}-dlq") == 1

        await eventually(given_up, "the message is in the dead letters")
    assert await merged(session) == before
    [letter] = json.loads((await asyncio.to_thread(done, "dlq", "show", QUEUE, "--json")).out)
    assert key in letter["body"]
    await asyncio.to_thread(done, "dlq", "redrive", QUEUE)

    async def is_merged() -> bool:
        return await merged(session) == before + 1

    await eventually(is_merged, "the message is handled")
    assert await asking.count(f"{QUEUE}-dlq") == 0


async def test_an_alarm_for_dead_letters_is_announced(asking: Asking, deployed: Deployed) -> None:
    """The number of messages, which AWS measures by itself, raises the queue's alarm, and the alarm its topic."""
    clients, name = asking.session.clients, f"{QUEUE}-dlq"
    topic = next(
        found["TopicArn"]
        for found in (await clients.sns.list_topics())["Topics"]
        if found["TopicArn"].endswith(f":{deployed.resource('alarms')}")
    )
    url = (await clients.sqs.create_queue(QueueName="pager"))["QueueUrl"]
    arn = (await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    await clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscribed = await clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    dimensions = [{"Name": "QueueName", "Value": deployed.resource(name)}]
    values = {"MetricName": "ApproximateNumberOfMessagesVisible", "Dimensions": dimensions, "Value": 1}
    await asking.cloudwatch.put_metric_data(
        Namespace="AWS/SQS", MetricData=[{**values, "Timestamp": datetime.now(UTC)}]
    )
    alarm = deployed.resource(f"{name}-not-empty")
    rung: list[str] = []

    async def announced() -> bool:
        answer = await clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        found = [json.loads(json.loads(message["Body"])["Message"]) for message in answer.get("Messages", [])]
        rung.extend(each["AlarmName"] for each in found if each["NewStateValue"] == "ALARM")
        return alarm in rung

    try:
        await eventually(announced, f"{alarm} is announced")
    finally:
        await clients.sns.unsubscribe(SubscriptionArn=subscribed["SubscriptionArn"])
        await clients.sqs.delete_queue(QueueUrl=url)


def test_the_doctor_finds_nothing_wrong() -> None:
    """What is deployed is what is declared, but for the containers side by side, which are fewer on one machine."""
    ended = tidegate("doctor", "--problems", "--json")
    failed = [each for each in ended.json if each["state"] == "failed"]
    assert [each for each in failed if each["found"] != f"its maximum concurrency is {CONCURRENCY}"] == [], ended.out


def test_a_second_plan_finds_only_what_the_emulator_forgets(deployed: Deployed) -> None:
    """By address and attribute as the documentation lists it; nothing would be made or removed."""
    changes = deployed.changes()
    assert {tuple(change["change"]["actions"]) for change in changes} <= {("update",)}
    text = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
    documented = {(kind, address): set(re.findall(r"`(\w+)`", names)) for kind, address, names in DRIFT.findall(text)}
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for change in changes:
        row = next((row for row in documented if row[0] == change["type"] and fnmatch(change["address"], row[1])), None)
        assert row is not None, f"{change['address']} differs: {differing(change)}"
        seen[row] |= differing(change)
    assert dict(seen) == documented


def differing(change: dict[str, dict[str, dict[str, object]]]) -> set[str]:
    """The attributes that a change is about."""
    before, after = change["change"]["before"], change["change"]["after"]
    unknown = change["change"]["after_unknown"]
    return {name for name in before | after if before.get(name) != after.get(name) and not unknown.get(name)}
