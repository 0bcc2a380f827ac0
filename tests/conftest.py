"""Fixtures that several suites share."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from services.console.local.emulator import Emulator
from services.runtime.aws.clients import Clients
from tests.emulator_support import Stack, new_stack, provision_now
from tests.postgres_support import Database, PostgresServer


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the whole session, on a free port, with its data in a temporary folder."""
    emulator = Emulator.start(tmp_path_factory.mktemp("emulator"))
    yield emulator
    assert emulator.stop(), "the emulator did not end cleanly; see its log"


@pytest.fixture
def empty_stack(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of the test's own with nothing in it; the AWS environment points at it."""
    stack = new_stack(emulator)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in stack.environ.items():
        monkeypatch.setenv(name, value)
    return stack


@pytest.fixture
def stack(empty_stack: Stack) -> Stack:
    """A stack of the test's own with everything that the topology declares."""
    provision_now(empty_stack)
    return empty_stack


@pytest.fixture
async def clients(stack: Stack) -> AsyncIterator[Clients]:
    """Service clients on the test's stack, closed afterwards."""
    assert stack.environ["AWS_ENDPOINT_URL"] == os.environ["AWS_ENDPOINT_URL"]
    async with Clients() as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole session, on a free port."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()
    server.remove()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """An empty database of the test's own."""
    database = postgres.new_database()
    yield database
    postgres.drop(database)
