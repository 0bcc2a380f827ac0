"""A Socrata server in trouble: every row still comes once, or the error says what became of the request."""

import asyncio
from typing import Any

import pytest

from contracts.fetching import KeyRange
from services.runtime.failures import PermanentError, TemporaryError
from tests.conformance.dataset_worlds import (
    IN_ORDER,
    MIXED,
    YEAR,
    Client,
    World,
    client_of,
    cursor,
    world_on,
)
from tests.socrata_support import SocrataServer

BACK_OFFS = [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.fixture
def world(client: Client, server: SocrataServer) -> World:
    """The server's dataset, with rows."""
    server.publish(MIXED)
    return world_on(server, client)


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 429},
        {"status": 429, "retry_after": "0"},
        {"status": 429, "retry_after": "3"},
        {"status": 429, "retry_after": "Fri, 02 Jan 1970 00:00:00 GMT"},
        {"status": 500},
        {"status": 503, "body": "<html>Bad gateway</html>"},
        {"cut_after": 0},
        {"cut_after": 1},
        {"cut_after": 150},
        {"cut_after": 90},
    ],
    ids=lambda rule: "-".join(f"{name}={value}" for name, value in rule.items()),
)
async def test_storms(world: World, client: Client, server: SocrataServer, rule: dict[str, Any]) -> None:
    """Five answers in a row that are of no use are waited out, and then every row comes, once."""
    server.faults({**rule, "times": 5})
    assert await world.keys(YEAR, 3) == IN_ORDER
    assert server.fired() == [5]
    waits = [wait for wait in client.time.waits if wait >= BACK_OFFS[0]]
    assert all(wait >= floor for wait, floor in zip(waits, BACK_OFFS, strict=True))


async def test_slow_answers(server: SocrataServer) -> None:
    """Answers that take too long are given up and asked for again, and every row comes once."""
    server.publish(MIXED)
    client = client_of(server, silence_s=0.25)
    server.faults({"delay_ms": 500, "every": 3})
    async with client.datasets:
        world = world_on(server, client)
        assert await world.keys(YEAR, 5) == IN_ORDER
    assert client.time.waits


async def test_a_storm_that_does_not_end(client: Client, server: SocrataServer) -> None:
    """Six attempts are made, fifteen seconds apart in all, though each answer says Retry-After: 0."""
    server.faults({"status": 429, "retry_after": "0", "message": "Slow down"})
    with pytest.raises(TemporaryError, match="429: Slow down") as gone:
        await client.dataset.newest()
    assert (server.fired(), sum(client.time.waits)) == ([6], 15.5)
    assert gone.value.delay == 16.0


async def test_a_throttled_source(client: Client, server: SocrataServer) -> None:
    """A real limit of the source is shared as a pause by everybody."""
    server.throttle(0.5, burst=1)
    await client.dataset.newest()
    with pytest.raises(TemporaryError, match="429"):
        await client.dataset.newest()
    name, seconds = client.budget.table.pauses[0]
    assert (name, seconds) == (server.url, 2.0)


async def test_any_layout(world: World, server: SocrataServer) -> None:
    """An array on one line is read like one with a row a line."""
    server.faults({"one_line": True})
    assert await world.keys(YEAR, 3) == IN_ORDER


async def test_side_by_side(world: World, client: Client, server: SocrataServer) -> None:
    """Pages that are read at the same time, through trouble, do not mix."""
    server.faults({"status": 503, "every": 3})
    ranges = [KeyRange(start=cursor(f"0{day}T00:00:00"), before=cursor(f"0{day + 1}T00:00:00")) for day in (1, 2, 4)]
    found = await asyncio.gather(*(world.keys(within, 2) for within in ranges * 5))
    assert found == [IN_ORDER[:4], IN_ORDER[4:7], IN_ORDER[7:]] * 5
    assert client.time.waits


async def test_a_refused_query(server: SocrataServer) -> None:
    """A condition that the source cannot read fails at once, with the source's words and the query."""
    client = client_of(server, where="no_such_column = 1")
    async with client.datasets:
        with pytest.raises(PermanentError, match=r"no_such_column = 1.*400: No such column: no_such_column"):
            await client.dataset.rows_by_day(YEAR)
    assert len(server.log()) == 1


async def test_a_missing_dataset(server: SocrataServer) -> None:
    """A dataset that is not there fails with its address."""
    client = client_of(server, dataset="none-0000")
    async with client.datasets:
        with pytest.raises(PermanentError, match=r"resource/none-0000\.json.*404: "):
            await client.dataset.newest()


@pytest.mark.parametrize("token", [None, "hunter2"])
async def test_the_token(server: SocrataServer, token: str | None) -> None:
    """The token is sent in its header with every request, or there is none."""
    server.tokens("hunter2")
    client = client_of(server, token)
    async with client.datasets:
        await client.dataset.newest()
        await client.dataset.page(YEAR, None, 10)
    seen = [(request["token"], request["token_in"]) for request in server.log()]
    assert seen == [(token, token and "header")] * 2


async def test_a_wrong_token(server: SocrataServer) -> None:
    """A token that the source does not know fails with the source's words and without the token."""
    server.tokens("hunter2")
    client = client_of(server, "hunter3")
    async with client.datasets:
        with pytest.raises(PermanentError, match="403: Invalid app_token specified") as refused:
            await client.dataset.newest()
    assert "hunter3" not in str(refused.value)


async def test_no_condition(server: SocrataServer) -> None:
    """Without a declared condition every row with a cursor is wanted."""
    server.publish(MIXED)
    client = client_of(server, where="")
    async with client.datasets:
        world = world_on(server, client)
        assert len(await world.keys(YEAR, 4)) == len(IN_ORDER) + 2
        assert await client.dataset.keys_at(cursor("04T12:00:00"), 2) == ["5"]
        assert await client.dataset.newest() == cursor("04T12:00:00")


async def test_limits_are_always_said(world: World, client: Client, server: SocrataServer) -> None:
    """No request leaves it to the source how many rows or groups it answers."""
    await client.dataset.newest()
    await client.dataset.rows_by_day(YEAR)
    await client.dataset.rows_by_cursor(YEAR)
    await client.dataset.keys_at(cursor("02T00:00:00"), 2)
    await world.rows(YEAR, 7)
    limits = [request["params"]["$limit"] for request in server.log()]
    assert limits == ["1", *["50000"] * 4, "1", "1", "7", "7", "7"]
