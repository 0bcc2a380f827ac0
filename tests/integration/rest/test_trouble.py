"""An API in trouble: every record still comes once, or the error says why."""

from typing import Any

import pytest

from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.http.retries import MAX_SNOOZE_S, RetryPolicy
from tests.rest_support import (
    PAYMENTS,
    SHIPMENTS,
    CommerceServer,
    Reader,
    open_reader,
    pipeline_of,
    shipment,
)

ALL = list(range(10))
BACK_OFFS = [0.5, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 429},
        {"status": 429, "retry_after": "0"},
        {"status": 500},
        {"status": 503, "body": "<html>Bad gateway</html>"},
        {"status": 202},
        {"status": 200, "body": ""},
        {"status": 200, "body": '{"data": [{"payment_id": "1"'},
        {"status": 200, "body": '{"error": "not now"}'},
        {"cut_after": 0},
        {"cut_after": 150},
        {"cut_after": 150, "says_length": False},
        {"cut_after": 0, "says_length": False},
    ],
    ids=lambda rule: "-".join(f"{name}={value}" for name, value in rule.items()),
)
@pytest.mark.parametrize("pagination", ["page", "cursor"])
async def test_storms(stocked: CommerceServer, reader: Reader, rule: dict[str, Any], pagination: str) -> None:
    """Five answers of no use to one question in mid-reading are waited out, and every record comes once."""
    stocked.faults({**rule, "skip": 1, "times": 5})
    assert await reader.numbers(pipeline_of(PAYMENTS, stocked.url, pagination=pagination)) == ALL
    assert stocked.fired() == [5]
    assert reader.time.waits == BACK_OFFS


async def test_retry_after_is_kept_to_and_shared(stocked: CommerceServer, reader: Reader) -> None:
    """The pause that the API asks for is waited for, by everybody who asks its host."""
    stocked.faults({"status": 429, "retry_after": "7", "times": 1})
    assert await reader.numbers(pipeline_of(PAYMENTS, stocked.url)) == ALL
    assert reader.time.waits == [7.0]
    assert reader.budget.table.pauses == [("127.0.0.1", 7.0)]
    assert {name for name, _ in reader.budget.table.taken} == {"127.0.0.1"}


@pytest.mark.parametrize(("asked", "delay"), [("61", 61.0), ("86400", MAX_SNOOZE_S)])
async def test_a_long_pause_holds_nobody(stocked: CommerceServer, reader: Reader, asked: str, delay: float) -> None:
    """Who is told to come back later than we hold a worker for comes back then."""
    stocked.faults({"status": 429, "retry_after": asked})
    with pytest.raises(TemporaryError, match="pause of") as held:
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert (held.value.delay, len(stocked.log())) == (delay, 1)


@pytest.mark.parametrize("rule", [{"status": 429, "message": "Slow down"}, {"status": 500, "message": "Slow down"}])
async def test_trouble_that_stays(stocked: CommerceServer, reader: Reader, rule: dict[str, Any]) -> None:
    """After six attempts it is trouble for now: what was asked and what the API said."""
    stocked.faults(rule)
    with pytest.raises(
        TemporaryError, match=rf"/payments since=1970-01-01T00:00:00Z page=1 .*{rule['status']}: Slow down"
    ):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert (stocked.fired(), reader.time.waits) == ([6], BACK_OFFS)


async def test_the_rate(stocked: CommerceServer, reader: Reader) -> None:
    """All requests together keep to the declared rate, after a burst of one second."""
    assert await reader.numbers(pipeline_of(PAYMENTS, stocked.url, requests_per_second=2.0)) == ALL
    assert len(stocked.log()) == 5
    assert reader.time.waits == [0.5, 0.5, 0.5]


async def test_slow_answers(stocked: CommerceServer) -> None:
    """An answer that takes too long is given up and asked for again."""
    stocked.faults({"delay_ms": 300, "times": 1})
    async with open_reader(policy=RetryPolicy(silence_s=0.1)) as reader:
        assert await reader.numbers(pipeline_of(PAYMENTS, stocked.url)) == ALL
        assert reader.time.waits == BACK_OFFS[:1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<html>Welcome</html>", "cannot be read as JSON with its records.*<html>Welcome"),
        ('{"data": {}}', r"no '\[' at 9"),
        ('{"data": null}', r"no '\[' at 9"),
        ('{"data": [1], "data": []}', "'data' is there twice"),
        ('{"data": []} []', "after the answer's end"),
        ('{"items": []}', "no member 'data'"),
        ("[]", "no '{' at 0"),
        ("{}", "no member 'data'"),
        ("[" * 100_000, "no '{' at 0"),
        ('{"data": ' + "[" * 100_000, "nested too deeply"),
    ],
)
async def test_answers_that_stay_broken(stocked: CommerceServer, reader: Reader, body: str, words: str) -> None:
    """Answers that are never what is declared are the API's last word, and the error says what is wrong with them."""
    stocked.faults({"status": 200, "body": body})
    with pytest.raises(PermanentError, match=rf"/payments .*{words}") as refused:
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert "\n" not in str(refused.value)
    assert stocked.fired() == [6]


async def test_a_cursor_that_is_none(stocked: CommerceServer, reader: Reader) -> None:
    """A next cursor that no request can carry is a broken answer."""
    stocked.faults({"status": 200, "body": '{"data": [], "next_cursor": {"page": 2}}'})
    with pytest.raises(PermanentError, match="'next_cursor' is neither text nor a number"):
        await reader.lines(pipeline_of(SHIPMENTS, stocked.url))


async def test_broken_answers_among_other_trouble(stocked: CommerceServer, reader: Reader) -> None:
    """As long as not every answer was broken, it may pass."""
    stocked.faults({"status": 503, "times": 1}, {"status": 200, "body": "<html>"})
    with pytest.raises(TemporaryError, match="attempt 6 of 6"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))


async def test_too_large_an_answer(stocked: CommerceServer, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that outgrows every page is not collected in memory."""
    monkeypatch.setattr("services.fetcher.adapters.rest.MAX_ANSWER_BYTES", 300)
    with pytest.raises(PermanentError, match="over 300 bytes; lower page_size"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))


@pytest.mark.parametrize("status", [400, 402, 404, 410])
async def test_a_refusal_is_final(stocked: CommerceServer, reader: Reader, status: int) -> None:
    """What the API refuses, with a lower bound and without, fails at once with its own words."""
    stocked.faults({"status": status, "message": "No such thing"})
    with pytest.raises(PermanentError, match=f"/payments .*{status}: No such thing"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))
    assert stocked.fired() == [1 if status in {402, 410} else 2]


async def test_a_page_that_is_refused_ends_nothing(stocked: CommerceServer, reader: Reader) -> None:
    """A refusal after the first page is not taken for the end."""
    stocked.faults({"status": 404, "contains": "page=3"})
    with pytest.raises(PermanentError, match=r"page=3 .*404"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))


async def test_redirects_are_not_followed(stocked: CommerceServer, reader: Reader) -> None:
    """A redirect would carry the key to another host: it is refused, and the error says where it leads."""
    stocked.faults({"status": 302, "location": "http://elsewhere.example/payments"})
    with pytest.raises(PermanentError, match=r"302 to http://elsewhere\.example/payments"):
        await reader.lines(pipeline_of(PAYMENTS, stocked.url))


async def test_shipments_through_a_storm(stocked: CommerceServer, reader: Reader) -> None:
    """Pages by cursor, with all kinds of trouble between them, bring every record once and in order."""
    stocked.put([shipment(n, f"10:{n % 60:02d}:{n // 60:02d}Z") for n in range(100)], SHIPMENTS)
    stocked.behave(cap=7)
    stocked.faults({"status": 500, "every": 3}, {"cut_after": 90, "every": 4}, {"status": 429, "every": 5})
    found = await reader.numbers(pipeline_of(SHIPMENTS, stocked.url))
    assert found == sorted(range(100), key=lambda n: (n % 60, n // 60))
