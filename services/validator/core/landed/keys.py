"""Keys of a segment: none may be missing, and none may be there twice."""

from collections.abc import Sequence

import polars as pl

SHOWN = 100
"""Characters of a key's value that a text repeats."""


class KeyCheck:
    """Looks at the keys of a segment chunk by chunk. It holds on to them, and to nothing else of a row.

    Args:
        columns: what a key consists of.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._missing = dict.fromkeys(self._columns, 0)
        self._frames: list[pl.DataFrame] = []

    def take(self, frame: pl.DataFrame) -> None:
        """Look at the rows of a chunk."""
        keys = frame[self._columns]
        missing = keys.null_count().row(0)
        if any(missing):
            for column, count in zip(self._columns, missing, strict=True):
                self._missing[column] += count
            keys = keys.drop_nulls()
        self._frames.append(keys)

    def faults(self) -> list[str]:
        """What is wrong with the keys of all chunks, a text for each kind of fault."""
        found = [f"{count} rows have no {column}" for column, count in self._missing.items() if count]
        twice = self._twice()
        if twice is not None:
            first = ", ".join(f"{name}={str(value)[:SHOWN]}" for name, value in zip(*_first(twice), strict=True))
            found.append(f"{twice.height} keys ({', '.join(self._columns)}) are there more than once, first {first}")
        return found

    def _twice(self) -> pl.DataFrame | None:
        """The keys that are there more than once, in the order in which they came."""
        if not self._frames:
            return None
        keys = pl.concat(self._frames, rechunk=True)
        # Equal keys have equal hashes, so keys whose hash is there once need no further look.
        hashes = keys.hash_rows()
        ordered = hashes.sort()
        suspects = ordered.filter(ordered == ordered.shift()).unique()
        if not len(suspects):
            return None
        count = "_".join(["rows", *self._columns])  # longer than any of them, so none of them
        suspected = keys.filter(hashes.is_in(suspects.implode()))
        counted = suspected.group_by(self._columns, maintain_order=True).len(count)
        twice = counted.filter(pl.col(count) > 1).select(self._columns)
        return twice if twice.height else None


def _first(keys: pl.DataFrame) -> tuple[Sequence[str], Sequence[object]]:
    return keys.columns, keys.row(0)
