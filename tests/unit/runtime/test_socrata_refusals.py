"""What the client does not ask again: refusals, answers that make no sense, and questions that make none."""

import pytest

from contracts.fetching import KeyRange
from services.runtime.datasets import Position
from services.runtime.failures import PermanentError
from tests.unit.runtime.scripted_portal import DAY, ROWS, Reply, open_bench


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(400, b'{"code":"query.soql","error":true,"message":"No such\\n column: x"}'), "No such column: x"),
        (Reply(404, b'{"message":"Not found"}'), "Not found"),
        (Reply(410, b"<html>\n gone </html>"), "<html> gone </html>"),
        (Reply(400, b""), "an empty body"),
        (Reply(400, b"[" * 100_000), r"100000 bytes: \[\["),
        (Reply(301, headers={"Location": "https://elsewhere.example/"}), "301 to https://elsewhere.example/"),
        (Reply(403, b'{"message":"Private dataset"}'), "Private dataset"),
    ],
    ids=["json", "missing", "html", "empty", "deep", "redirect", "forbidden"],
)  # fmt: skip
async def test_a_refusal_is_final(reply: Reply, words: str) -> None:
    """What the source refuses is a PermanentError at once: status, its own words and the query, in one line."""
    async with open_bench() as bench:
        bench.portal.replies(reply)
        with pytest.raises(PermanentError, match=words) as refused:
            await bench.page()
        text = str(refused.value)
        assert "\n" not in text
        assert f"{reply.status}" in text
        assert f"GET {bench.portal.domain}/resource/abcd-1234.json $where=(status = 'Open') and at >= " in text
        assert len(text) < 1_500
        assert len(bench.portal.requests) == 1


async def test_an_endless_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that outgrows every page we ask for is not collected in memory."""
    monkeypatch.setattr("services.runtime.socrata.exchange.MAX_ANSWER_BYTES", len(ROWS) - 1)
    async with open_bench() as bench:
        with pytest.raises(PermanentError, match="lower batch_size"):
            await bench.page()


async def test_more_rows_than_asked() -> None:
    """A source that answers more than the limit does not understand the query, so its rows are not taken."""
    async with open_bench() as bench:
        with pytest.raises(PermanentError, match="2 rows where 1 were asked"):
            await bench.page(limit=1)


async def test_a_source_that_stands_still() -> None:
    """A page that ends where the one before it ended is refused; paging would never end."""
    async with open_bench() as bench:
        with pytest.raises(PermanentError, match="does not go on"):
            await bench.page(after=Position("2026-08-01T00:00:15.000", "2"))


@pytest.mark.parametrize(
    "body", [b'[{"other":"1"}]', b'[{"tally_value":"x"}]', b'[{"tally_value":1,"tally_rows":"1"}]']
)
async def test_counts_of_another_shape(body: bytes) -> None:
    """Something else than a count, where counts were asked, is refused with what it was."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(body=body))
        with pytest.raises(PermanentError, match="where a count was asked"):
            await bench.dataset.rows_by_cursor(DAY)


@pytest.mark.parametrize("body", [b'[{"other":"1"}]', b'[{"id":"7"}]'])
async def test_keys_that_do_not_advance(body: bytes) -> None:
    """A key that is absent, or that was given before, is refused; asking on would never end."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(body=body))
        with pytest.raises(PermanentError, match="next key"):
            await bench.dataset.keys_at(DAY.start, 1)


async def test_a_newest_cursor_that_is_no_text() -> None:
    """A number as the newest cursor is refused: cursors are kept to the letter."""
    async with open_bench() as bench:
        bench.portal.replies(Reply(body=b'[{"tally_value":7}]'))
        with pytest.raises(PermanentError, match="newest"):
            await bench.dataset.newest()


@pytest.mark.parametrize("limit", [0, -1, 50_001])
async def test_pages_are_bounded(limit: int) -> None:
    """A page of no rows, or of more than are held in memory, is a mistake of the caller's."""
    async with open_bench() as bench:
        with pytest.raises(ValueError, match="limit"):
            await bench.page(limit=limit)
        with pytest.raises(ValueError, match="every"):
            await bench.dataset.keys_at(DAY.start, 0)


async def test_what_is_not_collected_has_no_dataset() -> None:
    """A pipeline over objects, and one that is not declared, are KeyErrors."""
    async with open_bench() as bench:
        for name in ("uploads", "nowhere"):
            with pytest.raises(KeyError, match=name):
                bench.datasets.of(name)


async def test_an_instant_beyond_the_last_day() -> None:
    """Counting by day ends at the end of the calendar, and refuses what is no day."""
    async with open_bench() as bench:
        forever = KeyRange(start="0001-01-01T00:00:00.000", to="9999-12-31T23:59:59.999")
        bench.portal.replies(Reply(body=b'[{"tally_value":"9999-12-31T00:00:00.000","tally_rows":"3"}]'))
        assert [tally.rows for tally in await bench.dataset.rows_by_day(forever)] == [3]
        bench.portal.replies(Reply(body=b'[{"tally_value":"someday","tally_rows":"3"}]'))
        with pytest.raises(PermanentError, match="someday"):
            await bench.dataset.rows_by_day(forever)
