"""Keys → chunks: whole keys, in the order in which their rows lie, about as many rows in each."""

import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from contracts.chunk_jobs import ChunkSizes
from contracts.chunks import ChunkKeys
from services.runtime.chunking.ports import KeyRows


@dataclass
class Draft:
    """One chunk, before it has a name."""

    keys: list[KeyRows] = field(default_factory=list)
    rows: int = 0

    def add(self, key: KeyRows) -> None:
        """Take a key in."""
        self.keys.append(key)
        self.rows += key.rows

    def document(self, columns: Sequence[str]) -> ChunkKeys:
        """Its keys as they are kept."""
        return ChunkKeys(
            columns=list(columns),
            values=[[key.values[place] for key in self.keys] for place in range(len(columns))],
            rows=[key.rows for key in self.keys],
        )

    @property
    def size(self) -> int:
        """Number of keys."""
        return len(self.keys)


async def balanced(keys: AsyncIterator[KeyRows], sizes: ChunkSizes) -> AsyncIterator[Draft]:
    """Chunks of up to ``target_rows`` and ``max_keys``; a key with more rows is a chunk of its own.

    A key without rows is left out. Needs memory for one chunk only.
    """
    draft = Draft()
    async for key in keys:
        if key.rows == 0:
            continue
        if draft.keys and (draft.rows + key.rows > sizes.target_rows or draft.size == sizes.max_keys):
            yield draft
            draft = Draft()
        draft.add(key)
    if draft.keys:
        yield draft


def halves(keys: ChunkKeys) -> tuple[ChunkKeys, ChunkKeys] | None:
    """The keys in two parts with about as many rows in each; None where there is only one key."""
    if len(keys.rows) < 2:  # noqa: PLR2004 - two halves
        return None
    total, before, cut = sum(keys.rows), 0, 1
    best = abs(total - 2 * keys.rows[0])
    for place, rows in enumerate(keys.rows[:-1]):
        before += rows
        if abs(total - 2 * before) < best:
            best, cut = abs(total - 2 * before), place + 1
    return _part(keys, slice(0, cut)), _part(keys, slice(cut, None))


def _part(keys: ChunkKeys, which: slice) -> ChunkKeys:
    return ChunkKeys(columns=keys.columns, values=[each[which] for each in keys.values], rows=keys.rows[which])


def part_ids(chunk_id: str) -> tuple[str, str]:
    """What the two parts of a chunk are called."""
    return f"{chunk_id}.1", f"{chunk_id}.2"


def order_of(chunk_id: str) -> tuple[tuple[int, str], ...]:
    """What sorts chunks by their numbers, each before its parts; a chunk without a number comes last."""
    return tuple((int(each), "") if each.isdecimal() else (sys.maxsize, each) for each in chunk_id.split("."))
