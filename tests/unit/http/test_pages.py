"""Pages: which records of an answer a window takes."""

import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.loads import START_OF_TIME, Slice
from services.runtime.failures import PermanentError
from services.runtime.http.moments import zulu
from services.runtime.http.pages import Page, Window, page_of

START, END = "2026-01-15T10:00:00.000000", "2026-01-15T11:00:00.000000"
EDGES = st.sampled_from([START, END]).map(datetime.fromisoformat)
NEAR = st.builds(lambda edge, steps: edge + timedelta(microseconds=steps), EDGES, st.integers(-3, 3))


def page(body: bytes, start: str = START, end: str = END) -> Page:
    """The page of a window."""
    window = Window.of(Slice(start=start, end=end))
    return page_of(body, records="data", cursor="at", next_cursor="next", window=window)


@settings(max_examples=100, deadline=None)
@given(st.lists(NEAR, max_size=6))
def test_a_window_is_half_open(moments: list[datetime]) -> None:
    """A page gives exactly the records from the start to before the end, in their order, and counts the rest."""
    records = [{"at": zulu(moment)} for moment in moments]
    found = page(json.dumps({"data": records}).encode())
    wanted = [record for record in records if START <= moment_text(record["at"]) < END]
    assert [json.loads(line) for line in found.lines] == wanted
    assert found.received == len(records)
    assert found.beyond == sum(moment_text(record["at"]) >= END for record in records)


def moment_text(text: str) -> str:
    """A cursor as a watermark writes it."""
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(timespec="microseconds")


@pytest.mark.parametrize("record", ['{"at":null}', '{"at":7}', '{"at":"soon"}', "{}", "null", "7", '["at"]', '"at"'])
def test_what_stands_nowhere_is_taken(record: str) -> None:
    """What has no readable cursor is in every window, so that somebody judges it."""
    assert page(f'{{"data":[{record}]}}'.encode()).lines == [record.encode() + b"\n"]


def test_the_first_window_takes_what_is_older() -> None:
    """Only a window that starts with time takes records from before it."""
    body = b'{"data":[{"at":"1969-07-20T20:17:40Z"}]}'
    assert len(page(body, START_OF_TIME).lines) == 1
    assert page(body, "1970-01-01T00:00:01.000000").lines == []


@pytest.mark.parametrize(
    ("start", "asked"),
    [
        (START_OF_TIME, "1970-01-01T00:00:00Z"),
        ("2026-01-15T10:00:00.000000", "2026-01-15T09:59:59Z"),
        ("2026-01-15T10:00:00.999999", "2026-01-15T09:59:59Z"),
    ],
)
def test_what_is_asked_for(start: str, asked: str) -> None:
    """An API is asked from a whole second before the window."""
    assert zulu(Window.of(Slice(start=start, end=END)).asked) == asked


def test_a_digest_knows_the_records_only() -> None:
    """Two answers with the same records have one digest, whatever else they say."""
    first = page(b'{"data":[{"at":"x"}],"asked_at":1}')
    assert first.digest == page(b'{"asked_at":2, "data": [{"at":"x"}]}').digest
    assert first.digest != page(b'{"data":[{"at":"y"}]}').digest
    assert page(b'{"data":[{"a":1},{"b":1}]}').digest != page(b'{"data":[{"a":1}]}').digest


@pytest.mark.parametrize("bounds", [("soon", END), (START, "")])
def test_a_slice_that_is_none(bounds: tuple[str, str]) -> None:
    """A slice whose bounds are no moments is refused with them."""
    with pytest.raises(PermanentError, match=f"from '{bounds[0]}' to '{bounds[1]}'"):
        page(b'{"data":[]}', *bounds)
