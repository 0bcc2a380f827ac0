"""The moulds that were met, and which of them a line may fit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

import polars as pl

from contracts.pipelines import Column
from services.validator.core.declared.moulds import Mould, Stencil, mould_of

_MOST_STENCILS = 1_024
_MOST_PRINTS = 16_384
_FUTILE = 3


class _Known(NamedTuple):
    """A mould, and its stencils' numbers among all that were met."""

    mould: Mould
    codes: list[int]


class Library:
    """Moulds by *print*: a hash that lines of one kind share, and some others with them.

    Attributes:
        separator: where lines are cut into pieces.
    """

    def __init__(self, columns: Mapping[str, Column], comma: str) -> None:
        self.separator = f'"{comma}"'
        self._columns = columns
        self._known: list[_Known] = []
        self._codes: dict[Stencil, int] = {}
        self._of_print: dict[tuple[int, int], int] = {}
        self._seen: Counter[int] = Counter()
        self._failures: Counter[int] = Counter()

    def ready_for(self, comma: str) -> Self:
        """This library, or an empty one if lines are cut elsewhere now, or it has grown beyond its bounds."""
        is_full = len(self._codes) > _MOST_STENCILS or len(self._seen) > _MOST_PRINTS
        return type(self)(self._columns, comma) if is_full or self.separator != f'"{comma}"' else self

    def assign(
        self, texts: pl.Series, prints: pl.Series, pending: pl.Series, attempt: int, *, fewest: int
    ) -> pl.Series:
        """The number of the mould that each pending line may fit; null where there is none to try.

        Args:
            texts: all lines; null for what is not text.
            prints: their prints.
            pending: positions of those that are asked for.
            attempt: how many moulds of its print a line was tried on already.
            fewest: lines of one print, in all blocks so far, that are worth a new mould.
        """
        chosen = prints.gather(pending).alias("print")
        groups = pl.DataFrame([chosen, pending.alias("index")]).group_by("print").agg(pl.all(), pl.len())
        found: dict[int, int] = {}
        for print_, samples, count in groups.select("print", pl.col("index").list.gather([0, -1]), "len").iter_rows():
            self._seen[print_] += count
            number = self._of_print.get((print_, attempt))
            if number is None and self._seen[print_] >= fewest:
                number = self._learn(print_, attempt, [texts[index] for index in samples])
            if number is not None:
                found[print_] = number
        return chosen.replace_strict(list(found), list(found.values()), default=None, return_dtype=pl.UInt32)

    def codes(self, numbers: pl.Series) -> tuple[pl.Series, list[Stencil]]:
        """The stencils of each line's mould as positions in a list, and that list."""
        distinct = numbers.unique().to_list()
        found: dict[int, int] = {}
        for number in distinct:
            for code in self._known[number].codes:
                found.setdefault(code, len(found))
        table = pl.Series([[found[c] for c in self._known[n].codes] for n in distinct], dtype=pl.List(pl.UInt32))
        rows = numbers.replace_strict(distinct, list(range(len(distinct))), return_dtype=pl.UInt32)
        stencils = list(self._codes)
        return table.gather(rows), [stencils[code] for code in found]

    def unknown(self, numbers: Iterable[int]) -> set[str]:
        """Members of these moulds that no column is declared for."""
        return set().union(*(self._known[number].mould.unknown for number in numbers))

    def _learn(self, print_: int, attempt: int, samples: Sequence[str | None]) -> int | None:
        """Make a mould of one of these samples, unless too many of their kind were futile."""
        if self._failures[print_] >= _FUTILE or len(self._codes) > _MOST_STENCILS:
            return None
        tried = [self._known[self._of_print[print_, earlier]].mould for earlier in range(attempt)]
        for sample in samples:
            mould = None if sample is None else mould_of(sample, self.separator, self._columns)
            if mould is not None and mould not in tried:
                codes = [self._codes.setdefault(stencil, len(self._codes)) for stencil in mould.stencils]
                self._known.append(_Known(mould, codes))
                self._of_print[print_, attempt] = len(self._known) - 1
                return len(self._known) - 1
        self._failures[print_] += 1
        return None
