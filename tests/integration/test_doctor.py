"""``tidegate doctor`` on the emulator: each test breaks one thing and sees one line change."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.topology import TOPOLOGY
from services.console.commands.checks.buckets import check_buckets
from services.console.commands.checks.clock import check_clock
from services.console.commands.checks.findings import Finding, State
from services.console.commands.checks.queues import check_queues
from services.console.commands.checks.schedules import check_machines, check_schedules
from services.console.commands.checks.tables import check_tables
from services.console.commands.checks.topics import check_topics
from services.console.commands.checks.world import World, open_world
from services.console.local.emulator import Emulator
from services.console.local.machines import machine_arn
from services.console.local.provision import provision
from tests.cli_support import tidegate
from tests.emulator_support import Stack
from tests.integration.doctor_support import (
    SMALL,
    Bench,
    Break,
    Check,
    attribute,
    block,
    changed,
    open_bench,
    queue_url,
    states,
)


@pytest.fixture(scope="module")
def opened(emulator: Emulator) -> Iterator[Bench]:
    """The clients of this module."""
    with open_bench(emulator) as bench:
        yield bench


@pytest.fixture
def small(opened: Bench) -> Bench:
    """A stack with one of each kind of resource."""
    opened.begin()
    return opened


async def _dead_letter(world: World) -> None:
    await world.clients.sqs.send_message(QueueUrl=await queue_url(world, "merge-segments-dlq"), MessageBody="{}")


async def _subscription_arn(world: World) -> str:
    found = (await world.clients.sns.list_subscriptions())["Subscriptions"]
    queue = world.name("merge-segments")
    return next(each["SubscriptionArn"] for each in found if each["Endpoint"].endswith(f":{queue}"))


async def _wrapped_delivery(world: World) -> None:
    sns = world.clients.sns
    arn = await _subscription_arn(world)
    await sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="false"
    )


async def _no_subscription(world: World) -> None:
    await world.clients.sns.unsubscribe(SubscriptionArn=await _subscription_arn(world))


async def _no_backups(world: World) -> None:
    await world.clients.dynamodb.update_continuous_backups(
        TableName=world.name("ledger"), PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    )


async def _expires(world: World) -> None:
    await world.clients.dynamodb.update_time_to_live(
        TableName=world.name("ledger"), TimeToLiveSpecification={"Enabled": True, "AttributeName": "gone_at"}
    )


async def _other_key(world: World) -> None:
    name = world.name("leases")
    await world.clients.dynamodb.delete_table(TableName=name)
    await world.clients.dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    await world.clients.dynamodb.update_continuous_backups(
        TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


async def _not_versioned(world: World) -> None:
    await world.clients.s3.put_bucket_versioning(
        Bucket=world.name("checkpoints"), VersioningConfiguration={"Status": "Suspended"}
    )


async def _no_lifecycle(world: World) -> None:
    await world.clients.s3.delete_bucket_lifecycle(Bucket=world.name("validated"))


async def _too_short_lifecycle(world: World) -> None:
    rule: Any = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "segments/"}, "Expiration": {"Days": 1}}
    name = world.name("checkpoints")
    have: Any = await world.clients.s3.get_bucket_lifecycle_configuration(Bucket=name)
    rules = [*have["Rules"], rule]
    await world.clients.s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})


async def _silent_bucket(world: World) -> None:
    await world.clients.s3.put_bucket_notification_configuration(
        Bucket=world.name("validated"), NotificationConfiguration={}
    )


async def _open_bucket(world: World) -> None:
    await block(world, "validated", policy=False)


async def _other_definition(world: World) -> None:
    sfn = world.clients.stepfunctions
    arn = await machine_arn(world.clients, world.name("conflict-report"))
    definition = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
    await sfn.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))


@pytest.mark.parametrize(
    ("check", "breaking", "line"),
    [
        (check_queues, attribute("merge-segments", VisibilityTimeout="1801"), "visibility timeout"),
        (check_queues, attribute("merge-segments", MessageRetentionPeriod="60"), "retention"),
        (check_queues, attribute("merge-segments", RedrivePolicy=""), "redrive policy"),
        (check_topics, _wrapped_delivery, "subscription validated-segments to merge-segments"),
        (check_topics, _no_subscription, "subscription validated-segments to merge-segments"),
        (check_tables, _no_backups, "table ledger: point-in-time recovery"),
        (check_tables, _expires, "table ledger: TTL"),
        (check_tables, _other_key, "table leases: key"),
        (check_buckets, _not_versioned, "bucket checkpoints: versioning"),
        (check_buckets, _no_lifecycle, "bucket validated: lifecycle"),
        (check_buckets, _too_short_lifecycle, "bucket checkpoints: lifecycle"),
        (check_buckets, _silent_bucket, "bucket validated: notifications"),
        (check_buckets, _open_bucket, "bucket validated: public access block"),
    ],
)
def test_one_wrong_setting_changes_one_line(small: Bench, check: Check, breaking: Break, line: str) -> None:
    """Whatever is not as it is declared fails the line that names it, and no other."""
    named = f"queue merge-segments: {line}" if check is check_queues else line
    assert changed(small, check, breaking) == {named: State.FAILED}


def test_a_state_machine_that_does_something_else_fails(small: Bench) -> None:
    """The definition that is deployed must be the one that is declared."""
    topology = SMALL.model_copy(update={"state_machines": TOPOLOGY.state_machines[:1]})
    small.world = dataclasses.replace(small.world, topology=topology)
    small.run(provision(small.world.clients, small.world.settings.stack, topology))
    line = "state machine conflict-report: definition"
    assert changed(small, check_machines, _other_definition) == {line: State.FAILED}


def test_a_message_in_a_dead_letter_queue_is_a_warning(small: Bench) -> None:
    """What SQS gave up on is worth a look and fails nothing."""
    assert changed(small, check_queues, _dead_letter) == {"queue merge-segments-dlq: is empty": State.WARNING}


def test_too_few_receives_fail_the_redrive_policy(small: Bench) -> None:
    """A queue that gives up sooner than declared loses messages to the wait for a lease."""

    async def breaking(world: World) -> None:
        arn = (await world.queue("merge-segments-dlq"))["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
        await attribute("merge-segments", RedrivePolicy=policy)(world)

    assert changed(small, check_queues, breaking) == {"queue merge-segments: redrive policy": State.FAILED}


async def _no_queue(world: World) -> None:
    await world.clients.sqs.delete_queue(QueueUrl=await queue_url(world, "merge-segments-dlq"))


async def _no_table(world: World) -> None:
    await world.clients.dynamodb.delete_table(TableName=world.name("ledger"))


async def _no_bucket(world: World) -> None:
    await world.clients.s3.delete_bucket(Bucket=world.name("validated"))


@pytest.mark.parametrize(
    ("check", "breaking", "resource"),
    [
        (check_queues, _no_queue, "queue merge-segments-dlq"),
        (check_tables, _no_table, "table ledger"),
        (check_buckets, _no_bucket, "bucket validated"),
    ],
)
def test_what_is_not_there_fails_and_nothing_about_it_is_judged(
    small: Bench, check: Check, breaking: Break, resource: str
) -> None:
    """A resource that is missing is one failure; its settings are not checked rather than wrong or right."""
    found = changed(small, check, breaking)
    assert found.pop(resource) is State.FAILED
    assert set(found.values()) == {State.NOT_CHECKED}
    assert all(name.startswith(f"{resource}: ") for name in found)


def test_what_only_aws_has_is_not_checked_elsewhere(small: Bench) -> None:
    """An endpoint that keeps no backups and has no schedules passes nothing of it, and fails nothing."""

    async def work(world: World) -> list[Finding]:
        await _no_backups(world)
        return [*await check_tables(world), *await check_schedules(world)]

    found = {finding.check: finding for finding in small.run(work(dataclasses.replace(small.world, is_aws=False)))}
    assert found["table ledger: point-in-time recovery"].state is State.NOT_CHECKED
    assert found["schedule daily"].state is State.NOT_CHECKED
    assert "`tidegate run`" in found["schedule daily"].found


def test_the_endpoint_tells_the_time(small: Bench) -> None:
    """The emulator runs on this machine, so its Date header is this machine's time."""
    assert small.run(states(check_clock, small.world)) == {"clock": State.OK}


def test_a_complete_stack_passes_and_a_broken_one_exits_with_1(stack: Stack) -> None:
    """Of a stack as it is provisioned only its absent secrets fail; one broken queue is one more line, in JSON too."""
    before = tidegate("doctor", "--json")
    failures = {each["check"] for each in before.json if each["state"] == "failed"}
    assert failures
    assert all(check.startswith("secret ") for check in failures)
    asyncio.run(_set_visibility(stack))
    after = tidegate("doctor", "--problems")
    assert after.code == 1
    assert "queue chunk-jobs: visibility timeout" in after.out
    assert "set it to 5400 s at least" in after.out
    assert after.out.count("failed") == len(failures) + 2  # the new line, and the summary's word


async def _set_visibility(stack: Stack) -> None:
    async with open_world() as world:
        assert world.settings.stack == stack.name
        await attribute("chunk-jobs", VisibilityTimeout="30")(world)
