"""Bytes of the S3 stub in pieces, so that a copy on the server costs what it costs a client of S3: its answer."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Self


class Rope:
    """Immutable bytes that share their pieces with those that they were cut from and put together of."""

    __slots__ = ("_ends", "_pieces")

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces if len(piece)]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))

    @classmethod
    def joined(cls, ropes: Iterable["Rope"]) -> Self:
        """One after the other."""
        return cls(piece for rope in ropes for piece in rope._pieces)  # noqa: SLF001 - of the same class

    def __len__(self) -> int:
        """Bytes."""
        return self._ends[-1] if self._ends else 0

    def cut(self, start: int, stop: int) -> Self:
        """What lies between two places; both may lie beyond the end."""
        pieces: list[memoryview] = []
        first = bisect_right(self._ends, start)
        for piece, end in zip(self._pieces[first:], self._ends[first:], strict=True):
            begin = end - len(piece)
            if begin >= stop:
                break
            pieces.append(piece[max(0, start - begin) : stop - begin])
        return type(self)(pieces)

    def __bytes__(self) -> bytes:
        """All of it in one piece."""
        return b"".join(self._pieces)
