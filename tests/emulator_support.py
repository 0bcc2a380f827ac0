"""An isolated, provisioned stack on the session's emulator."""

import asyncio
import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contracts.topology import TOPOLOGY
from services.console.local.emulator import Emulator
from services.console.local.provision import provision
from services.runtime.aws.clients import Clients
from tests.stack_template import Request, recorded, send_again

REGION = "us-east-1"
AUTHORITY = Path(__file__).with_name("authority.pem")
"""Trusted for nothing: the emulator speaks no TLS, and each client would load all the authorities of the world."""
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
            "AWS_CA_BUNDLE": str(AUTHORITY),
            "TIDEGATE_STACK": name,
        },
    )


def provision_now(stack: Stack) -> None:
    """Create all that the topology declares, as ``provision_anew`` did for the first stack of this process."""
    first = _first.get(stack.endpoint)
    if first is not None:
        send_again(stack.endpoint, first.requests, {first.stack.name: stack.name, first.stack.account: stack.account})
        return
    with recorded(stack.endpoint) as (address, requests):
        provision_anew(stack, AWS_ENDPOINT_URL=address)
    _first[stack.endpoint] = _First(stack, requests)


def provision_anew(stack: Stack, **settings: str) -> None:
    """Create all that the topology declares with the code that users have."""

    async def _provision() -> None:
        async with Clients() as clients:
            await provision(clients, stack.name, TOPOLOGY)

    # A loop of its own: the fixture is synchronous, and a test's loop may be running already.
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        for name, value in {**stack.environ, **settings}.items():
            patch.setenv(name, value)
        runner.run(_provision())


@dataclass(frozen=True)
class _First:
    stack: Stack
    requests: list[Request]


_first: dict[str, _First] = {}
"""By endpoint."""
