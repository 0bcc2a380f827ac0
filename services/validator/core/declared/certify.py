"""The fast path: certify ordinary lines by the column, without a JSON parser.

Lines are cut into pieces, lines whose keys have the same lengths are guessed to share a mould, the pieces of a block are
laid out by stencil, and each stencil reads all of its pieces at once. A wrong guess certifies nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from contracts.pipelines import Column
from services.validator.core.columns import schema_of
from services.validator.core.declared.moulds import Mould, Stencil, Target, mould_of
from services.validator.core.declared.stencils import read_pieces
from services.validator.core.texts import texts_of

SMALLEST_PASS = 256
"""Lines below which a pass over columns costs more than handing them to the reference."""
SMALLEST_MOULD = 4
"""Lines of one kind in a block below which they are not worth a mould."""

_MOST_MOULDS = 4_096
_ATTEMPTS = 3
"""Moulds that lines with keys of the same lengths may have."""
_FUTILE = 3
_KEY_ENDS = '":'
_SAMPLE = 32


class Certified(NamedTuple):
    """The lines that need no further judging.

    Attributes:
        frame: their columns.
        indexes: their positions in the block, ascending (UInt32).
        left: positions of the other lines, ascending (UInt32).
        unknown: members of the certified lines that no column is declared for.
    """

    frame: pl.DataFrame
    indexes: pl.Series
    left: pl.Series
    unknown: set[str]


class _Known(NamedTuple):
    """A mould, and its stencils' numbers among all that were met."""

    mould: Mould
    codes: list[int]


class Certifier:
    """Certifies lines block by block, and remembers the moulds and values it has met.

    A line it leaves out is not bad: it is the reference's to judge.

    Args:
        columns: the declared columns.
        smallest_pass: lines below which a pass is not worth its fixed cost.
        smallest_mould: lines below which a mould is not worth making.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        smallest_pass: int = SMALLEST_PASS,
        smallest_mould: int = SMALLEST_MOULD,
    ) -> None:
        self._columns = columns
        self._schema = schema_of({name: column.type for name, column in columns.items()})
        self._smallest_pass, self._smallest_mould = smallest_pass, smallest_mould
        self._separator: str | None = None
        self._codes: dict[Stencil, int] = {}
        self._moulds: list[_Known] = []
        self._of_print: dict[tuple[int, int], int] = {}
        self._failures: Counter[int] = Counter()

    def certify(self, lines: Sequence[bytes]) -> Certified:
        """The lines of one block that are proven to be rows, with the values the reference would give them."""
        texts = texts_of(lines)
        if self._separator is None:
            self._separator = _separator(lines[:_SAMPLE])
        pieces = texts.str.split(self._separator)
        prints = pieces.list.eval(pl.element().str.find(_KEY_ENDS, literal=True)).hash()
        pending = pl.arange(len(lines), dtype=pl.UInt32, eager=True)
        parts: list[tuple[pl.DataFrame, pl.Series]] = []
        unknown: set[str] = set()
        for attempt in range(_ATTEMPTS):
            if len(pending) < self._smallest_pass:
                break
            numbers = self._assign(texts, prints, pending, attempt)
            if numbers.null_count():
                pending, numbers = pending.filter(numbers.is_not_null()), numbers.drop_nulls()
            if len(pending) < self._smallest_pass:
                break
            frame, fits = self._read(pieces if len(pending) == len(lines) else pieces.gather(pending), numbers)
            parts.append((frame, pending.filter(fits)))
            unknown.update(*(self._moulds[number].mould.unknown for number in numbers.filter(fits).unique()))
            pending = pending.filter(~fits)
        frame, indexes = self._in_order(parts)
        is_left = pl.repeat(value=True, n=len(lines), eager=True).scatter(indexes, values=False)
        return Certified(frame, indexes, is_left.arg_true(), unknown)

    def _assign(self, texts: pl.Series, prints: pl.Series, pending: pl.Series, attempt: int) -> pl.Series:
        """The number of the mould that each pending line may fit; null where there is none to try."""
        chosen = prints.gather(pending).alias("print")
        groups = pl.DataFrame([chosen, pending.alias("index")]).group_by("print").agg(pl.all(), pl.len())
        found: dict[int, int] = {}
        for print_, indexes, count in groups.select("print", pl.col("index").list.gather([0, -1]), "len").iter_rows():
            number = self._of_print.get((print_, attempt))
            if number is None and count >= self._smallest_mould:
                number = self._learn(print_, attempt, [texts[index] for index in indexes])
            if number is not None:
                found[print_] = number
        numbers = chosen.replace_strict(list(found), list(found.values()), default=None, return_dtype=pl.UInt32)
        return numbers

    def _learn(self, print_: int, attempt: int, samples: Sequence[str | None]) -> int | None:
        """Make a mould of one of these samples, unless too many of their kind were futile."""
        if self._failures[print_] >= _FUTILE or len(self._moulds) >= _MOST_MOULDS:
            return None
        tried = [self._moulds[self._of_print[print_, earlier]].mould for earlier in range(attempt)]
        for sample in samples:
            mould = None if sample is None else mould_of(sample, self._separator or "", self._columns)
            if mould is not None and mould not in tried:
                codes = [self._codes.setdefault(stencil, len(self._codes)) for stencil in mould.stencils]
                self._moulds.append(_Known(mould, codes))
                self._of_print[print_, attempt] = len(self._moulds) - 1
                return len(self._moulds) - 1
        self._failures[print_] += 1
        return None

    def _read(self, pieces: pl.Series, numbers: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
        """Values of the lines that fit their moulds, and a mask that says which of all lines those are."""
        rows = len(pieces)
        codes, used = self._codes_of(numbers)
        is_whole = codes.list.len() == pieces.list.len()
        if not is_whole.all():  # two sequences of keys with one hash
            frame, fits = self._read(pieces.filter(is_whole), numbers.filter(is_whole))
            return frame, is_whole.scatter(is_whole.arg_true().filter(~fits), values=False)
        flat = pieces.explode(empty_as_null=False)
        places = pl.DataFrame([codes.alias("code"), pl.arange(rows, dtype=pl.UInt32, eager=True).alias("row")])
        place = places.select(pl.col("code") * pl.lit(rows, pl.UInt32) + pl.col("row")).to_series()
        layout = pl.repeat(None, len(used) * rows, dtype=pl.UInt32, eager=True).scatter(
            place.explode(empty_as_null=False), pl.arange(len(flat), dtype=pl.UInt32, eager=True)
        )
        laid_out = layout.to_frame("at").select(
            pl.lit(flat).gather(pl.col("at").slice(place * rows, rows)).alias(name) for place, name in enumerate(used)
        )
        fits, read = read_pieces(laid_out, used)
        values: dict[Target, list[pl.Series]] = {}
        for target, value in read:
            values.setdefault(target, []).append(value)
        return self._frame(values, fits), fits

    def _codes_of(self, numbers: pl.Series) -> tuple[pl.Series, dict[str, Stencil]]:
        """The stencils of each line's mould, numbered anew without gaps, and what the numbers stand for."""
        distinct = numbers.unique().to_list()
        found = {
            code: stencil
            for number in distinct
            for code, stencil in zip(self._moulds[number].codes, self._moulds[number].mould.stencils, strict=True)
        }
        local = {code: place for place, code in enumerate(found)}
        table = [[local[code] for code in self._moulds[number].codes] for number in distinct]
        rows = numbers.replace_strict(distinct, list(range(len(distinct))), return_dtype=pl.UInt32)
        used = {str(place): stencil for place, stencil in enumerate(found.values())}
        return pl.Series(table, dtype=pl.List(pl.UInt32)).gather(rows), used

    def _frame(self, values: Mapping[Target, Sequence[pl.Series]], fits: pl.Series) -> pl.DataFrame:
        # Of several stencils for one value, whichever has it.
        parts = {target: pl.coalesce([pl.lit(series) for series in of]) for target, of in values.items()}
        columns = []
        for name, dtype in self._schema.items():
            whole, latitude, longitude = (parts.get(Target(name, part)) for part in ("", "latitude", "longitude"))
            if latitude is not None and longitude is not None:
                point = pl.struct(latitude.alias("latitude"), longitude.alias("longitude"))
                whole = pl.when(latitude.is_not_null()).then(point)
            columns.append((pl.lit(None, dtype) if whole is None else whole).alias(name))
        frame = fits.to_frame("fits").select(columns)
        return frame if fits.all() else frame.filter(fits)

    def _in_order(self, parts: Sequence[tuple[pl.DataFrame, pl.Series]]) -> tuple[pl.DataFrame, pl.Series]:
        parts = [part for part in parts if len(part[1])]
        if not parts:
            return self._schema.to_frame(), pl.Series(dtype=pl.UInt32)
        if len(parts) == 1:
            return parts[0]
        frame = pl.concat([part[0] for part in parts])
        indexes = pl.concat([part[1] for part in parts])
        order = indexes.arg_sort()
        return frame[order], indexes.gather(order)


def _separator(lines: Sequence[bytes]) -> str:
    spaced = sum(line.count(b'", "') > line.count(b'","') for line in lines)
    return '", "' if 2 * spaced > len(lines) else '","'
