"""How the client takes what a portal can answer: when it asks again, when it gives up, and what it then says."""

import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from structlog.testing import capture_logs

from services.runtime.failures import TemporaryError
from services.runtime.http.retries import MAX_SNOOZE_S, RetryPolicy, retry_after
from tests.unit.runtime.scripted_portal import ROWS, Reply, open_bench

LINES = b'{"at":"2026-08-01T00:00:14.000","id":"1"}\n{"at":"2026-08-01T00:00:15.000","id":"2"}\n'
BACK_OFFS = [0.5, 1.0, 2.0, 4.0, 8.0]
GZIP = {"Content-Encoding": "gzip"}
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429),
        Reply(500),
        Reply(502, b"<html>Bad gateway</html>"),
        Reply(503, b""),
        Reply(504),
        Reply(202, b'{"message":"the query is running"}'),
        Reply(cut=0),
        Reply(cut=len(ROWS) // 2),
        Reply(cut=len(ROWS) // 2, has_length=False),
        Reply(body=ROWS[: len(ROWS) // 2], has_length=False),
        Reply(body=ROWS[: ROWS.index(b"\n")], has_length=False),
        Reply(body=b"<html>Down for maintenance</html>"),
        Reply(body=b'{"message":"not what was asked"}'),
        Reply(body=b""),
        Reply(headers=GZIP),
        Reply(body=gzip.compress(ROWS)[:-30], headers=GZIP),
        Reply(body=gzip.compress(ROWS)[:-30], headers=GZIP, has_length=False),
    ],
    ids=lambda reply: f"{reply.status}-{len(reply.body)}-{reply.cut}-{reply.has_length}",
)
async def test_what_may_pass_is_asked_again(trouble: Reply) -> None:
    """After trouble that may pass the page is asked for again as a whole, and its rows come once."""
    async with open_bench() as bench:
        bench.portal.replies(trouble, trouble, Reply())
        block = await bench.page()
        assert (block.lines, block.rows) == (LINES, 2)
        assert bench.time.waits == BACK_OFFS[:2]
        assert len({request.rel_url for request in bench.portal.requests}) == 1
        assert len(bench.portal.requests) == 3


async def test_packed_answers() -> None:
    """Answers may be packed, and the client says so."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(body=gzip.compress(ROWS), headers=GZIP))
        assert (await bench.page()).lines == LINES
        assert "gzip" in bench.portal.requests[0].headers["Accept-Encoding"]


async def test_a_portal_that_says_nothing_is_given_up() -> None:
    """An attempt ends when nothing came for as long as the policy says, and counts as failed."""
    async with open_bench(policy=RetryPolicy(silence_s=0.05)) as bench:
        bench.portal.replies(Reply(silent=True), Reply())
        assert (await bench.page()).rows == 2
        assert bench.time.waits == BACK_OFFS[:1]


async def test_nobody_there() -> None:
    """A connection that is refused to the end is a TemporaryError that names the address."""
    async with open_bench(source={"domain": "http://127.0.0.1:1"}) as bench:
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:1/resource/abcd-1234.*ClientConnectorError"):
            await bench.page()
        assert bench.time.waits == BACK_OFFS


async def test_trouble_that_stays() -> None:
    """After the last attempt it is a TemporaryError: what happened, the query, and a delay longer than any before."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(503, b'{"message":"Back\\n soon"}'))
        with pytest.raises(
            TemporaryError, match=r"\$where=.*status = 'Open'.*: 503: Back soon .attempt 6 of 6"
        ) as gone:
            await bench.page()
        assert (len(bench.portal.requests), bench.time.waits, gone.value.delay) == (6, BACK_OFFS, 16.0)


async def test_retry_after_zero_does_not_burn_the_attempts() -> None:
    """A storm of 429 with Retry-After: 0 is waited out as long as one without it."""
    async with open_bench() as bench:
        storm = [Reply(429, headers={"Retry-After": "0"})] * 5
        bench.portal.replies(*storm, Reply())
        assert (await bench.page()).rows == 2
        assert bench.time.waits == BACK_OFFS
        assert bench.budget.table.pauses == []


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept_to_and_shared(status: int) -> None:
    """The pause that the source asks for is waited for, and everybody's next request keeps to it."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(status, headers={"Retry-After": "7"}), Reply())
        await bench.page()
        assert bench.budget.table.pauses == [(bench.portal.domain, 7.0)]
        assert bench.time.waits == [7.0]


async def test_somebody_elses_pause_is_kept_to() -> None:
    """A pause that another process passed on is waited for before the first request."""
    async with open_bench() as bench:
        await bench.budget.pause(bench.portal.domain, 5.0)
        await bench.page()
        assert bench.time.waits == [5.0]
        assert len(bench.portal.requests) == 1


@pytest.mark.parametrize(("asked", "delay"), [("61", 61.0), ("86400", MAX_SNOOZE_S), ("9" * 400, MAX_SNOOZE_S)])
async def test_a_long_pause_holds_nobody(asked: str, delay: float) -> None:
    """What asks for more than the cap is put off at once, by as much as it asks for within reason, for all."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(429, headers={"Retry-After": asked}))
        with pytest.raises(TemporaryError, match="pause of") as held:
            await bench.page()
        assert (held.value.delay, bench.time.waits, len(bench.portal.requests)) == (delay, [], 1)
        assert bench.budget.table.pauses == [(bench.portal.domain, delay)]
        with pytest.raises(TemporaryError, match="next request is due in") as waiting:
            await bench.page()
        assert waiting.value.delay == pytest.approx(delay)
        assert len(bench.portal.requests) == 1


async def test_every_attempt_takes_its_turn() -> None:
    """Each attempt takes a token of the domain's budget, in bursts of one second, and waits as told."""
    async with open_bench(source={"requests_per_second": 2.4}) as bench:
        bench.portal.replies(Reply(500), Reply())
        for _ in range(3):
            await bench.page()
        taken = bench.budget.table.taken
        assert [name for name, _ in taken] == [bench.portal.domain] * 4
        waited = [wait for _, wait in taken if wait > 0]
        assert waited
        assert bench.time.waits == [0.5, *waited]


async def test_retries_are_logged_without_a_traceback() -> None:
    """Each retry is one line of the log that says why and how long it waits."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(500, b'{"message":"Oops"}'), Reply())
        with capture_logs() as lines:
            await bench.page()
        assert [(line["attempt"], line["wait_s"], "Oops" in line["why"]) for line in lines] == [(1, 0.5, True)]


def test_back_off() -> None:
    """Half of a back-off is certain and half is jitter; it doubles up to the cap."""
    policy = RetryPolicy()
    assert [policy.back_off(failures, 1.0) for failures in range(1, 10)] == [*BACK_OFFS, 16.0, 32.0, 60.0, 60.0]
    assert [policy.back_off(failures, 0.0) for failures in range(1, 4)] == [0.25, 0.5, 1.0]


def test_the_back_off_is_a_floor_under_what_is_asked() -> None:
    """The longer of the back-off and the asked pause is waited for."""
    policy = replace(RetryPolicy(), base_s=2.0)
    assert [policy.delay(1, asked, 1.0) for asked in (None, 0.0, 1.0, 3.0, 1e9)] == [2.0, 2.0, 2.0, 3.0, MAX_SNOOZE_S]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Mon, 99 Foo 2026 12:00:00 GMT"}, None),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30.0),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=30), usegmt=True)}, 0.0),
        ({"Retry-After": "Sat, 01 Aug 2026 12:00:09 -0000"}, 9.0),
        (
            {
                "Date": format_datetime(NOW + timedelta(hours=5), usegmt=True),
                "Retry-After": format_datetime(NOW + timedelta(hours=5, seconds=30), usegmt=True),
            },
            30.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date, the date by the source's own clock where it tells it; anything else is as if absent."""
    assert retry_after(headers, NOW) == seconds
