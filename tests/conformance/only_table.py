"""A provisioned table and nothing else: what one state adapter needs, in a fraction of a whole stack's time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.topology import TOPOLOGY
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from tests.emulator_support import Stack


@asynccontextmanager
async def only_table(stack: Stack, name: str) -> AsyncIterator[tuple[Clients, str]]:
    """Clients, and the deployed name of the one table of the topology that was created."""
    tables = [table for table in TOPOLOGY.tables if table.name == name]
    others = ("queues", "topics", "subscriptions", "buckets", "schedules", "state_machines")
    only = TOPOLOGY.model_copy(update={"tables": tables} | {kind: [] for kind in others})
    async with Clients() as clients:
        await provision(clients, stack.name, only)
        yield clients, stack.resource(name)
