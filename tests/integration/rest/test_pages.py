"""Pages of an API: every record once, however the API pages, and whatever moves meanwhile."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.loads import START_OF_TIME
from services.runtime.failures import PermanentError, TemporaryError
from tests.rest_support import (
    PAYMENTS,
    SHIPMENTS,
    CommerceServer,
    Reader,
    command_of,
    open_reader,
    payment,
    pipeline_of,
    shipment,
)

HOUR = [payment(n, f"10:{n:02d}:00Z") for n in range(25)]
"""One payment a minute."""


@pytest.mark.parametrize("pagination", ["page", "cursor"])
@pytest.mark.parametrize(("size", "cap"), [(500, 4), (5, 500), (25, 25), (24, 500), (1, 1), (500, 500)])
async def test_every_page_is_read(server: CommerceServer, reader: Reader, pagination: str, size: int, cap: int) -> None:
    """Every record comes once, whatever size of page is asked for and however the server caps it."""
    server.put(HOUR)
    server.behave(cap=cap)
    pipeline = pipeline_of(PAYMENTS, server.url, pagination=pagination, page_size=size)
    assert await reader.numbers(pipeline) == list(range(25))


async def test_large_pages(server: CommerceServer, reader: Reader) -> None:
    """Pages of a megabyte and more come whole."""
    server.put([payment(n, "10:00:00Z", note="x" * 1_000) for n in range(2_500)])
    pipeline = pipeline_of(PAYMENTS, server.url, page_size=2_000)
    assert sorted(await reader.numbers(pipeline)) == list(range(2_500))
    assert len(server.asked()) == 3


async def test_changes_while_pages_are_read(server: CommerceServer, reader: Reader) -> None:
    """A record that moves away while pages are read hides no other: all is read again, and nothing comes twice."""
    server.put(HOUR)
    server.behave(cap=5)
    pipeline = pipeline_of(PAYMENTS, server.url)
    found: list[int] = []
    async for block in reader.records.read(pipeline, command_of(pipeline, START_OF_TIME, "11:00:00")):
        found += [json.loads(line)["order_id"] for line in block.lines.splitlines()]
        if len(found) == 10:  # moves behind the end, so that record 10 slips into a page that was read
            server.put([payment(3, "12:00:00Z")])
    assert found == [*range(10), *range(11, 25), 10]


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(0, 24),
    cap=st.integers(1, 7),
    moves=st.dictionaries(st.integers(0, 12), st.sets(st.integers(0, 23), max_size=3), max_size=4),
    pagination=st.sampled_from(["page", "cursor"]),
)
def test_what_stays_is_read(
    running: CommerceServer, count: int, cap: int, moves: dict[int, set[int]], pagination: str
) -> None:
    """Whatever moves out of the window while pages are read: what stays in it is read, and nothing comes twice."""
    running.reset()
    running.put(HOUR[:count])
    running.behave(cap=cap)
    pipeline = pipeline_of(PAYMENTS, running.url, pagination=pagination)
    moved: set[int] = set()

    async def read() -> list[int]:
        found: list[int] = []
        async with open_reader() as reader:
            blocks = reader.records.read(pipeline, command_of(pipeline, START_OF_TIME, "11:00:00"))
            turn = 0
            async for block in blocks:
                found += [json.loads(line)["order_id"] for line in block.lines.splitlines()]
                going = {n for n in moves.get(turn, ()) if n < count}
                running.put([payment(n, f"12:00:{turn:02d}Z") for n in sorted(going)])
                moved.update(going)
                turn += 1
        return found

    found = asyncio.run(read())
    assert len(set(found)) == len(found)
    assert set(range(count)) - moved <= set(found) <= set(range(count))


async def test_changes_that_never_end(server: CommerceServer, reader: Reader) -> None:
    """Pages that bring something new in every reading are given up for now."""
    server.put(HOUR)
    server.behave(cap=5)
    pipeline = pipeline_of(PAYMENTS, server.url)

    async def read() -> None:
        change = 0
        async for _ in reader.records.read(pipeline, command_of(pipeline, START_OF_TIME, "11:00:00")):
            change += 1
            server.put([payment(1_000 + change, "10:59:00Z"), payment(99, f"12:00:00.{change:06d}Z")])

    with pytest.raises(TemporaryError, match=r"ecommerce\.payments: 5 readings of all pages"):
        await read()


async def test_changes_between_pages_of_a_cursor(server: CommerceServer, reader: Reader) -> None:
    """Pages that name their next one lose nothing when records move."""
    server.put([shipment(n, f"10:{n:02d}:00Z") for n in range(25)], SHIPMENTS)
    server.behave(cap=5)
    pipeline = pipeline_of(SHIPMENTS, server.url)
    found: list[int] = []
    async for block in reader.records.read(pipeline, command_of(pipeline, START_OF_TIME, "11:00:00")):
        found += [json.loads(line)["order_id"] for line in block.lines.splitlines()]
        server.put([shipment(3, "12:00:00Z")], SHIPMENTS)
    assert found == list(range(25))


async def test_the_same_cursor_twice(server: CommerceServer, reader: Reader) -> None:
    """An API that names a page again would never end, and is refused."""
    page = json.dumps({"data": [shipment(1, "10:00:00Z")], "next_cursor": "again"})
    server.faults({"status": 200, "body": page})
    with pytest.raises(PermanentError, match="next_cursor 'again' came twice"):
        await reader.lines(pipeline_of(SHIPMENTS, server.url))


async def test_an_api_that_does_not_page(server: CommerceServer, reader: Reader) -> None:
    """An API that gives the same page for every number is refused: what it capped would be lost."""
    server.faults({"status": 200, "body": json.dumps({"data": HOUR})})
    with pytest.raises(PermanentError, match="page 2 repeats page 1: the source does not page by 'page'"):
        await reader.lines(pipeline_of(PAYMENTS, server.url))


@pytest.mark.parametrize("cursor", ["null", '""', "7"])
async def test_ends_of_cursors(server: CommerceServer, reader: Reader, cursor: str) -> None:
    """Null, nothing and an empty text end the pages; a number names the next one."""
    server.faults(
        {
            "status": 200,
            "body": f'{{"data":[{json.dumps(shipment(1, "10:00:00Z"))}],"next_cursor":{cursor}}}',
            "times": 1,
        },
        {"status": 200, "body": '{"data":[]}'},
    )
    assert await reader.numbers(pipeline_of(SHIPMENTS, server.url)) == [1]
    assert [asked.get("cursor") for asked in server.asked()] == ([None, "7"] if cursor == "7" else [None])
