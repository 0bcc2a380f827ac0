"""Records of an API: exactly those of the window, in the source's own text, however the API filters."""

from typing import Any

import pytest

from contracts.loads import START_OF_TIME
from services.runtime.declarations import load_pipelines
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT
from tests.rest_support import (
    PAYMENTS,
    SHIPMENTS,
    CommerceServer,
    Reader,
    payment,
    pipeline_of,
)

HOUR = [payment(n, f"10:{n:02d}:00Z") for n in range(25)]
"""One payment a minute."""


@pytest.mark.parametrize("since", ["honoured", "exclusive", "ignored", "refused"])
@pytest.mark.parametrize("pagination", ["none", "page", "cursor"])
async def test_a_window_is_exact(server: CommerceServer, reader: Reader, since: str, pagination: str) -> None:
    """Its first moment is in and its end is not, whether the API honours, ignores or refuses the lower bound."""
    server.put(
        [
            payment(1, "09:59:59.999999Z"),
            payment(2, "10:00:00Z"),
            payment(3, "10:00:00.000001+00:00"),
            payment(4, "12:30:00+02:00"),
            payment(5, "10:59:59.9999999Z"),
            payment(6, "11:00:00.000000Z"),
            payment(7, "23:30:00+12:30"),
        ]
    )
    server.behave(since=since, cap=5_000 if pagination == "none" else 2)
    pipeline = pipeline_of(PAYMENTS, server.url, pagination=pagination)
    assert sorted(await reader.numbers(pipeline, "10:00:00", "11:00:00")) == [2, 3, 4, 5]
    assert sorted(await reader.numbers(pipeline, START_OF_TIME, "10:00:00")) == [1]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_refused_bound_is_asked_for_once(server: CommerceServer, reader: Reader, status: int) -> None:
    """Where the API refuses the lower bound, all pages are read without it."""
    server.put(HOUR)
    server.behave(since="refused", refusal=status, cap=10)
    assert await reader.numbers(pipeline_of(PAYMENTS, server.url), "10:20:00") == [20, 21, 22, 23, 24]
    assert [("since" in asked, asked["page"]) for asked in server.asked()] == [
        (True, "1"),
        *((False, f"{page}") for page in (1, 2, 3, 4)),
    ]


async def test_what_is_asked(server: CommerceServer, reader: Reader) -> None:
    """The bound is the window's first second, a second early; the first load asks from the start of time."""
    pipeline = pipeline_of(PAYMENTS, server.url, page_size=7)
    await reader.lines(pipeline, "2026-01-15T10:00:00.250000", "11:00:00")
    await reader.lines(pipeline)
    await reader.lines(pipeline_of(PAYMENTS, server.url, since=None, pagination="none"))
    assert server.asked() == [
        {"since": "2026-01-15T09:59:59Z", "page": "1", "limit": "7"},
        {"since": "1970-01-01T00:00:00Z", "page": "1", "limit": "7"},
        {},
    ]


async def test_the_answer_may_be_the_records(server: CommerceServer, reader: Reader) -> None:
    """Without a member that is declared to hold them, the answer is the array of records."""
    server.put(HOUR)
    server.behave(array=True, cap=10)
    assert await reader.numbers(pipeline_of(PAYMENTS, server.url, records=None)) == list(range(25))


async def test_nothing_there(server: CommerceServer, reader: Reader) -> None:
    """No records are no blocks."""
    for entity in (PAYMENTS, SHIPMENTS):
        assert await reader.lines(pipeline_of(entity, server.url)) == []


async def test_records_come_as_they_are_written(server: CommerceServer, reader: Reader) -> None:
    """Numbers keep every digit, members their order, and each record is one line in any layout."""
    record = (
        '{"updated_at":"2026-01-15T10:00:00Z","payment_id":"a","order_id":12345678901234567890123456789,'
        '"amount":1234567890123456789012345678.10,"currency":"\\u00e9\\/ \\n","x":[1.0,1e400,-0.0],"y":{}}'
    )
    server.put(f"[{record}]")
    server.behave(layout="pretty")
    lines = await reader.lines(pipeline_of(PAYMENTS, server.url))
    assert lines == [record.encode()]


@pytest.mark.parametrize("cursor", [None, "", "yesterday", 1_768_471_200, "2026-13-01T00:00:00Z"])
async def test_a_record_without_a_cursor_is_passed_on(server: CommerceServer, reader: Reader, cursor: Any) -> None:
    """What cannot be placed in time is for the validator to judge; it is never left out."""
    server.put([payment(1, "10:00:00Z", updated_at=cursor), payment(2, "10:30:00Z")])
    assert sorted(await reader.numbers(pipeline_of(PAYMENTS, server.url), "10:15:00", "11:00:00")) == [1, 2]


async def test_what_is_older_than_time_is_passed_on(server: CommerceServer, reader: Reader) -> None:
    """The first load passes on records from before the start of time: no other load would take them."""
    server.put([payment(1, "", updated_at="1969-12-31T23:59:59Z"), payment(2, "10:30:00Z")])
    server.behave(since="ignored")
    pipeline = pipeline_of(PAYMENTS, server.url)
    assert await reader.numbers(pipeline) == [1, 2]
    assert await reader.numbers(pipeline, "10:00:00", "11:00:00") == [2]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"url": "${PAYMENTS_API_URL}"}, "source.url needs the variable PAYMENTS_API_URL"),
        ({"secret": "${API_KEY_SECRET_ARN}"}, "source.secret needs the variable API_KEY_SECRET_ARN"),
        ({"url": "ftp://127.0.0.1"}, "source.url must be http"),
        ({"url": "127.0.0.1:80"}, "source.url must be http"),
        ({"url": "http://127.0.0.1:port"}, "source.url is not an address"),
        ({"url": "http://me:hunter2@127.0.0.1"}, "source.url holds credentials"),
        ({"pagination": "cursor", "records": None}, "needs source.records"),
    ],
)
async def test_declarations_that_cannot_be_read(reader: Reader, source: dict[str, Any], words: str) -> None:
    """What is declared wrongly, or stands for a variable that nobody set, is named before anything is asked."""
    pipeline = pipeline_of(PAYMENTS, "http://127.0.0.1:1", **source)
    with pytest.raises(BadDeclarationError, match=f"^ecommerce.payments: .*{words}") as refused:
        await reader.lines(pipeline)
    assert "hunter2" not in str(refused.value)


async def test_other_sources_are_not_read(reader: Reader) -> None:
    """A pipeline of another kind of source is refused by its name."""
    orders = load_pipelines(PROJECT / "pipelines")["ecommerce.orders"]
    with pytest.raises(BadDeclarationError, match=r"ecommerce\.orders: source.kind 'postgres' is not read from an API"):
        await reader.lines(orders)
