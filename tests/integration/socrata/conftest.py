"""One server for every module here."""

from collections.abc import Iterator

import pytest

from tests.socrata_support import SocrataServer, socrata_server


@pytest.fixture(scope="session")
def running() -> Iterator[SocrataServer]:
    """A server that ends cleanly after the last test."""
    with socrata_server() as server:
        yield server


@pytest.fixture
def server(running: SocrataServer) -> SocrataServer:
    """The server without trouble and memory; datasets are each test's own."""
    running.reset()
    return running
