"""A small stack for tests of ``tidegate doctor``, and what is different after something in it was broken."""

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from contracts.topology import TOPOLOGY, Schedule, Topology
from services.console.commands.checks.findings import Finding, State
from services.console.commands.checks.world import World, open_world
from services.console.local.emulator import Emulator
from services.console.local.provision import provision
from tests.emulator_support import new_stack

QUEUES = ("merge-segments", "chunk-jobs")
SMALL = Topology(
    version=1,
    queues=[TOPOLOGY.queue(name) for name in QUEUES],
    topics=[topic for topic in TOPOLOGY.topics if topic.name == "validated-segments"],
    subscriptions=[each for each in TOPOLOGY.subscriptions if each.queue in QUEUES],
    tables=[table for table in TOPOLOGY.tables if table.name in {"ledger", "leases"}],
    buckets=[bucket for bucket in TOPOLOGY.buckets if bucket.name in {"validated", "checkpoints"}],
    schedules=[Schedule(name="daily", pipeline="nyc_311", expression="cron(0 6 * * ? *)")],
)
"""One of each kind: provisioned in a moment."""

ROLE = "arn:aws:iam::000000000000:role/any"
T = TypeVar("T")
Check = Callable[[World], Awaitable[list[Finding]]]
Break = Callable[[World], Awaitable[Any]]


_numbers = itertools.count(1)


class Bench:
    """Clients that all tests of this module share, and a small stack of each test's own."""

    def __init__(self, runner: asyncio.Runner, opened: World) -> None:
        self._runner = runner
        self._opened = opened
        self.world = opened

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something, in the loop that the clients belong to."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def begin(self) -> None:
        """A new small stack, with what only AWS has by itself; its endpoint is taken for AWS."""
        settings = self._opened.settings.model_copy(update={"stack": f"doctor-{next(_numbers)}"})
        self.world = dataclasses.replace(self._opened, settings=settings, topology=SMALL, is_aws=True, functions={})
        self.run(provision(self.world.clients, settings.stack, SMALL))
        self.run(_as_on_aws(self.world))


@contextmanager
def open_bench(emulator: Emulator) -> Iterator[Bench]:
    """The shared clients, in an account that no other test uses."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        for name, value in new_stack(emulator).environ.items():
            patch.setenv(name, value)
        world = open_world()
        yield Bench(runner, runner.run(world.__aenter__()))
        runner.run(world.__aexit__(None, None, None))


async def _as_on_aws(world: World) -> None:
    for table in SMALL.tables:
        await world.clients.dynamodb.update_continuous_backups(
            TableName=world.name(table.name), PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    for bucket in SMALL.buckets:
        await block(world, bucket.name, policy=True)


async def block(world: World, bucket: str, *, policy: bool) -> None:
    await world.clients.s3.put_public_access_block(
        Bucket=world.name(bucket),
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": policy,
            "RestrictPublicBuckets": True,
        },
    )


async def states(check: Check, world: World) -> dict[str, State]:
    """Each line's state, by its check."""
    return {finding.check: finding.state for finding in await check(world)}


def changed(small: Bench, check: Check, breaking: Break) -> dict[str, State]:
    """What is different after something was broken; before that everything must be in order."""

    async def work(world: World) -> dict[str, State]:
        before = await states(check, world)
        assert set(before.values()) == {State.OK}, before
        await breaking(world)
        after = await states(check, world)
        return {name: state for name, state in after.items() if before.get(name) is not state}

    return small.run(work(small.world))


async def queue_url(world: World, name: str) -> str:
    return (await world.clients.sqs.get_queue_url(QueueName=world.name(name)))["QueueUrl"]


def attribute(queue: str, **values: str) -> Break:
    """Set attributes of a queue."""

    async def breaking(world: World) -> None:
        given: Any = values
        await world.clients.sqs.set_queue_attributes(QueueUrl=await queue_url(world, queue), Attributes=given)

    return breaking
