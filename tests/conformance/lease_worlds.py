"""Where the lease suites run: processes over one shared table, in memory and on the emulator."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from services.runtime.aws.leases import DynamoLeases
from services.runtime.leases import Leases
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock, TrueTime
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.network import Network, NetworkedClient, ScriptedNetwork

Open = Callable[[ManualClock, Network], Leases]


@dataclass
class World:
    """One table, one true time and as many processes as a test wants."""

    open: Open
    time: TrueTime = field(default_factory=TrueTime)

    def process(self, network: Network | None = None, *, skew_s: float = 0.0) -> Leases:
        """The leases as a new process sees them, whose wall clock may be wrong."""
        return self.open(ManualClock(self.time, skew_s=skew_s), network or ScriptedNetwork())


class InMemory:
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """Processes over one shared table in memory."""
        table = LeaseTable()
        return World(lambda clock, network: FakeLeases(clock, table, network))


class OnDynamo:
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """Processes over one DynamoDB table, each behind a network of its own."""
        async with only_table(empty_stack, "leases") as (clients, table):
            yield World(
                lambda clock, network: DynamoLeases(
                    NetworkedClient(clients.dynamodb, network).as_dynamodb(), table, clock
                )
            )
