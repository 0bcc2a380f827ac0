"""Fixtures of the end-to-end tests: real workers on the session's emulator, driven through real clients."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.proxy import Proxy
from tests.e2e.world import World, open_world
from tests.emulator_support import Stack


@pytest.fixture
def fleet(stack: Stack, tmp_path: Path) -> Iterator[Fleet]:
    """Workers of the test's own stack."""
    fleet = Fleet(stack, tmp_path)
    yield fleet
    fleet.kill_all()
    sys.stdout.write(fleet.story())  # shown when the test failed
    assert not fleet.defects()


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    """The test's source, output and ledger."""
    assert stack.environ["TIDEGATE_STACK"]
    async with open_world() as world:
        yield world


@pytest.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    """A proxy in front of the stack, for one worker."""
    async with Proxy(stack.endpoint) as proxy:
        yield proxy
