"""The sample portal, for the suites that hold the client of datasets against it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.dataset_worlds import Client, client_of, emptied
from tests.socrata_support import SocrataServer, socrata_server


@pytest.fixture(scope="module")
def running() -> Iterator[SocrataServer]:
    """One server for the module."""
    with socrata_server() as server:
        yield server


@pytest.fixture
def server(running: SocrataServer) -> SocrataServer:
    """The server as new."""
    return emptied(running)


@pytest.fixture
async def client(server: SocrataServer) -> AsyncIterator[Client]:
    """A client of the server."""
    client = client_of(server)
    async with client.datasets:
        yield client
