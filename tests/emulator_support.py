"""An isolated, provisioned stack on the session's emulator."""

import asyncio
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.topology import TOPOLOGY, Topology
from services.console.local.emulator import Emulator
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients

REGION = "us-east-1"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Stack:
    """Where one test's resources live; its account of the emulator holds no other test's queues and tables."""

    name: str
    account: str
    endpoint: str
    environ: Mapping[str, str] = field(repr=False)

    def resource(self, name: str) -> str:
        """The deployed name of a queue, topic, table or bucket."""
        return f"{self.name}-{name}"


def new_stack(emulator: Emulator) -> Stack:
    """A stack that nobody else uses; nothing is created in it yet."""
    number = next(_numbers)
    name, account = f"test-{os.getpid()}-{number}", f"{number:012d}"
    return Stack(
        name=name,
        account=account,
        endpoint=emulator.endpoint,
        environ={
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "TIDEGATE_STACK": name,
        },
    )


def provision_now(stack: Stack, topology: Topology = TOPOLOGY) -> None:
    """Create the stack's resources; the environment must point at it."""

    async def _provision() -> None:
        async with Clients() as clients:
            await provision(clients, stack.name, topology)

    # A loop of its own: the fixture is synchronous, and a test's loop may be running already.
    with asyncio.Runner() as runner:
        runner.run(_provision())
