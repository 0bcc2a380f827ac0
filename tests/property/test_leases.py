"""The promises of docs/leases.md, tried against skew, pauses, crashes, lost answers and late requests."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from services.runtime.aws.clients import Clients
from services.runtime.aws.items import from_item, to_item
from services.runtime.aws.leases import DynamoLeases
from services.runtime.leases import TRUST, Leases
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.leases import FakeLeases, LeaseRecord, LeaseRules, LeaseTable
from tests.fakes.network import Network, NetworkedClient
from tests.property.lease_machine import TTL_S, machine
from tests.property.lease_world import BrokenInvariantError

TOLERATED_S = round(TTL_S * (1 - TRUST) / 2, 6)
"""How wrong each of two clocks may be, either way: together they may use up what TRUST leaves."""

_numbers = count(1)


class InMemory:
    """The fake, under given rules."""

    resource = "checkpoint"

    def __init__(self, rules: LeaseRules | None = None) -> None:
        self._table = LeaseTable()
        self._rules = rules or LeaseRules()

    def process(self, clock: ManualClock, network: Network) -> Leases:
        """See the Protocol."""
        return FakeLeases(clock, self._table, network, self._rules)

    async def token(self) -> int:
        """See the Protocol."""
        return self._table.records.get(self.resource, LeaseRecord()).token


class InDynamo:
    """The adapter, on a record of its own for each example."""

    def __init__(self, clients: Clients, table: str) -> None:
        self.resource = f"checkpoint-{next(_numbers)}"
        self._clients = clients
        self._table = table

    def process(self, clock: ManualClock, network: Network) -> Leases:
        """See the Protocol."""
        return DynamoLeases(NetworkedClient(self._clients.dynamodb, network).as_dynamodb(), self._table, clock)

    async def token(self) -> int:
        """See the Protocol."""
        answer = await self._clients.dynamodb.get_item(
            TableName=self._table, Key=to_item({"resource": self.resource}), ConsistentRead=True
        )
        return int(from_item(answer.get("Item", {})).get("token", 0))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all examples of a test, so that they can share a client."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def test_no_two_believers_and_no_token_twice(loop: asyncio.AbstractEventLoop) -> None:
    """With clocks as wrong as TRUST allows, every promise holds whatever the world does."""
    run_state_machine_as_test(
        machine(loop, InMemory, TOLERATED_S),
        settings=settings(max_examples=200, stateful_step_count=50, deadline=None),
    )


def test_adapter_keeps_the_same_promises(loop: asyncio.AbstractEventLoop, stack: Stack) -> None:
    """The same walk over the DynamoDB adapter."""
    clients = loop.run_until_complete(Clients().__aenter__())
    try:
        run_state_machine_as_test(
            machine(loop, lambda: InDynamo(clients, stack.resource("leases")), TOLERATED_S),
            settings=settings(
                max_examples=25,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    finally:
        loop.run_until_complete(clients.__aexit__(None, None, None))


@pytest.mark.parametrize(
    ("rules", "skew_s"),
    [
        pytest.param(LeaseRules(trust=1.0), TOLERATED_S, id="no-room-for-skew"),
        pytest.param(LeaseRules(trust=1.0, from_start=False), 0.0, id="whole-ttl-from-the-end"),
        pytest.param(LeaseRules(from_start=False), 0.0, id="trust-from-the-end"),
        pytest.param(LeaseRules(), TOLERATED_S * 1.5, id="more-skew-than-tolerated"),
        pytest.param(LeaseRules(watch_ttls=0.5), 0.0, id="watched-for-half-a-ttl"),
        pytest.param(LeaseRules(renewals_in_order=False), TOLERATED_S, id="renewals-overtake"),
        pytest.param(LeaseRules(release_keeps_token=False), 0.0, id="release-forgets-the-token"),
    ],
)
def test_the_walk_finds_each_broken_rule(loop: asyncio.AbstractEventLoop, rules: LeaseRules, skew_s: float) -> None:
    """Each rule is there for a reason: without it the same walk breaks a promise."""
    with pytest.raises(BrokenInvariantError):
        run_state_machine_as_test(
            machine(loop, lambda: InMemory(rules), skew_s),
            settings=settings(
                max_examples=5_000,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
