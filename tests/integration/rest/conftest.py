"""Fixtures of the tests that read the sample API as a fetcher does."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rest_support import TEN, CommerceServer, Reader, commerce_server, open_reader


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommerceServer]:
    """One server for all tests here."""
    with commerce_server(tmp_path_factory.mktemp("commerce")) as server:
        yield server


@pytest.fixture
def server(running: CommerceServer) -> CommerceServer:
    """The server without records, trouble and memory."""
    running.reset()
    return running


@pytest.fixture
def stocked(server: CommerceServer) -> CommerceServer:
    """The server with ten records, three of them a page."""
    server.put(TEN)
    server.behave(cap=3)
    return server


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    """A reader with the right key."""
    async with open_reader() as opened:
        yield opened
