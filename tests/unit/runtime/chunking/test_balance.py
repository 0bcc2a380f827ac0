"""Keys become chunks, and a chunk two parts."""

import itertools
from collections.abc import AsyncIterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chunk_jobs import ChunkSizes
from contracts.chunks import ChunkKeys
from services.runtime.chunking.balance import Draft, balanced, halves, order_of, part_ids
from services.runtime.chunking.ports import KeyRows

ROWS = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 200)), max_size=60)
SIZES = st.builds(
    lambda target, more, keys: ChunkSizes(target_rows=target, max_rows=target + more, max_keys=keys),
    st.integers(1, 60),
    st.integers(0, 60),
    st.integers(1, 8),
)


async def drafts(rows: Sequence[int], sizes: ChunkSizes) -> list[Draft]:
    """The chunks of keys 0, 1, 2, … with so many rows."""

    async def keys() -> AsyncIterator[KeyRows]:
        for number, each in enumerate(rows):
            yield KeyRows((str(number), None), each)

    return [draft async for draft in balanced(keys(), sizes)]


@settings(max_examples=150, deadline=None)
@given(ROWS, SIZES)
async def test_every_key_is_in_one_chunk(rows: list[int], sizes: ChunkSizes) -> None:
    """Each key with rows once, in order, none split, within the limits unless it is alone, and no chunk too early."""
    found = await drafts(rows, sizes)
    assert [key for draft in found for key in draft.keys] == [
        KeyRows((str(number), None), each) for number, each in enumerate(rows) if each
    ]
    for draft in found:
        assert draft.rows == sum(key.rows for key in draft.keys)
        assert 1 <= draft.size <= sizes.max_keys
        assert draft.rows <= sizes.target_rows or draft.size == 1
    for draft, after in itertools.pairwise(found):
        assert draft.size == sizes.max_keys or draft.rows + after.keys[0].rows > sizes.target_rows


async def test_no_rows_are_no_chunks() -> None:
    """An empty distribution, and one of keys whose rows are gone, come to nothing."""
    assert await drafts([], ChunkSizes()) == []
    assert await drafts([0, 0], ChunkSizes()) == []


async def test_a_large_key_is_alone() -> None:
    """It takes no neighbours in, neither before it nor after it."""
    found = await drafts([1, 99, 1, 1], ChunkSizes(target_rows=10, max_rows=10))
    assert [[key.rows for key in draft.keys] for draft in found] == [[1], [99], [1, 1]]


async def test_a_chunk_is_kept_column_by_column() -> None:
    """The document holds each key's values and rows, and NULL as None."""
    (draft,) = await drafts([3, 4], ChunkSizes())
    assert draft.document(["day", "ssn"]) == ChunkKeys(
        columns=["day", "ssn"], values=[["0", "1"], [None, None]], rows=[3, 4]
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=2, max_size=30))
def test_the_halves_of_a_chunk_are_the_chunk(rows: list[int]) -> None:
    """Every key is in one of two parts, in order, neither is empty, and no other cut is more even."""
    keys = ChunkKeys(columns=["id"], values=[[str(number) for number in range(len(rows))]], rows=rows)
    parts = halves(keys)
    assert parts is not None
    first, second = parts
    assert first.rows + second.rows == rows
    assert [first.values[0] + second.values[0]] == keys.values
    assert first.rows
    assert second.rows
    gaps = [abs(sum(rows[:cut]) - sum(rows[cut:])) for cut in range(1, len(rows))]
    assert abs(sum(first.rows) - sum(second.rows)) == min(gaps)


def test_a_single_key_has_no_halves() -> None:
    """A key is never split."""
    assert halves(ChunkKeys(columns=["id"], values=[["1"]], rows=[50_000])) is None
    assert halves(ChunkKeys(columns=["id"], values=[[]], rows=[])) is None


def test_chunks_are_ordered_by_number() -> None:
    """Ten comes after two, a part after its chunk, and a chunk without a number after all of them."""
    ids = ["whole", "10", "2", *part_ids("2"), "0"]
    assert sorted(ids, key=order_of) == ["0", "2", "2.1", "2.2", "10", "whole"]
