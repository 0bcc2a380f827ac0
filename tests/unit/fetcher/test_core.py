"""Decisions of a fetch."""

import gzip

import pytest

from contracts.sources import SocrataSource
from services.fetcher.core import Progress, RawBody, advance, job_of
from services.runtime.datasets import Block, Position
from services.runtime.failures import BadDeclarationError, PermanentError
from tests.unit.fetcher.world import DECLARED, NAME, at, command, declared, key_of

LIMIT = 10


def source() -> SocrataSource:
    found = declared(batch_size=LIMIT).source
    assert isinstance(found, SocrataSource)
    return found


def page(rows: int, *, key: int = 0, minute: int = 0) -> Block:
    """A page whose last row has this key and cursor."""
    lines = [b'{"unique_key":"x","created_date":"x"}\n'] * (rows - 1)
    if rows:
        lines.append(f'{{"unique_key":"{key:08}","created_date":"{at(minute)}"}}\n'.encode())
    return Block(b"".join(lines), rows)


def read(*sizes: int, expected: int) -> Progress:
    """Progress after pages of these sizes."""
    progress = Progress()
    for number, size in enumerate(sizes, 1):
        assert not progress.ended
        progress = advance(progress, page(size, minute=number), source(), expected_rows=expected)
    return progress


@pytest.mark.parametrize(
    ("sizes", "expected", "ended"),
    [
        ([0], 0, True),
        ([0], 25, True),
        ([10], 10, False),
        ([10, 0], 10, True),
        ([10, 10, 5], 25, True),
        ([10, 10, 5], 20, True),
        ([10, 10, 5], 26, False),
        ([10, 10, 5, 0], 26, True),
        ([7], 7, False),
        ([7, 0], 7, True),
        ([7, 7, 7], 21, False),
        ([7, 7, 6], 20, True),
        ([7, 7, 6], 21, False),
        ([10, 12, 11], 33, False),
    ],
)
def test_where_a_range_ends(sizes: list[int], expected: int, *, ended: bool) -> None:
    """Without rows always; by a short page only if no cap of the source cut it and no counted row is missing."""
    progress = read(*sizes, expected=expected)
    assert (progress.ended, progress.rows) == (ended, sum(sizes))


def test_the_next_page_comes_after_the_last_row() -> None:
    """The position is the last row's cursor and key, to the letter; a page without rows leaves it."""
    progress = advance(Progress(), page(3, key=7, minute=5), source(), expected_rows=3)
    assert progress.position == Position(at(5), "00000007")
    assert advance(progress, page(0), source(), expected_rows=3).position == progress.position


@pytest.mark.parametrize(
    "pages",
    [
        [(5, 1), (5, 1)],
        [(5, 1), (4, 2)],
        [(5, 1), (5, 3), (5, 1)],
        [(5, 1), (5, 3), (5, 2), (5, 3)],
    ],
)
def test_a_source_that_goes_nowhere(pages: list[tuple[int, int]]) -> None:
    """A page that ends where one ended before, or before it, is refused with both positions."""
    progress = Progress()
    for minute, key in pages[:-1]:
        progress = advance(progress, page(LIMIT, key=key, minute=minute), source(), expected_rows=99)
    minute, key = pages[-1]
    with pytest.raises(PermanentError, match=r"erm2-nwe9.*does not page by position") as caught:
        advance(progress, page(LIMIT, key=key, minute=minute), source(), expected_rows=99)
    assert at(minute) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_are_in_the_order_of_the_source() -> None:
    """Within an instant a source may order keys as it likes, for example numbers by value."""
    progress = advance(Progress(), page(LIMIT, key=9, minute=5), source(), expected_rows=99)
    assert not advance(progress, page(LIMIT, key=8, minute=5), source(), expected_rows=99).ended
    later = advance(progress, page(LIMIT, key=9, minute=6), source(), expected_rows=99)
    assert later.passed == frozenset({Position(at(6), "00000009")})


def test_a_row_without_a_position() -> None:
    """After a row without cursor or key no page can come."""
    with pytest.raises(PermanentError, match="unique_key"):
        advance(Progress(), Block(b'{"created_date":"x"}\n', 1), source(), expected_rows=1)


def test_the_object_of_a_segment() -> None:
    """Bucket and key follow from the command and the declaration alone."""
    job = job_of(command(), DECLARED, "the-raw-bucket")
    assert (job.bucket, job.key) == ("the-raw-bucket", key_of())
    assert job.location == f"the-raw-bucket/{key_of()}"
    own = {NAME: declared(bucket="own", prefix="in/")}
    assert job_of(command(), own, "the-raw-bucket").location == f"own/in/2025/02/21/{NAME}/run-1/s1.json.gz"


@pytest.mark.parametrize(("name", "why"), [("nobody", "no pipeline 'nobody'"), ("visit_events", "nothing to fetch")])
def test_a_command_that_cannot_be_meant(name: str, why: str) -> None:
    """A pipeline that is unknown, or that others feed, is named."""
    with pytest.raises(BadDeclarationError, match=why):
        job_of(command(pipeline=name), DECLARED, "raw")


def test_the_same_rows_are_the_same_bytes() -> None:
    """A raw object depends on its lines only: not on the time, and not on how they came in pages."""
    one, many = RawBody(), RawBody()
    one.add(Block(b"1\n22\n333\n", 3))
    for line in (b"1\n", b"22\n", b"333\n"):
        many.add(Block(line, 1))
    body = one.finish()
    assert body == many.finish()
    assert gzip.decompress(body) == b"1\n22\n333\n"
    assert body[4:8] == bytes(4)
    assert one.raw_bytes == 9


def test_nothing_is_an_object_too() -> None:
    """A body without rows is a valid gzip file."""
    assert gzip.decompress(RawBody().finish()) == b""
