"""The fast path: certify ordinary lines by the column, without a JSON parser.

Lines are cut into pieces, the pieces of a block are laid out by stencil, and each stencil reads all of its pieces at
once. Which mould a line may fit is only guessed: a wrong guess certifies nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from contracts.pipelines import Column
from services.validator.core.columns import schema_of
from services.validator.core.declared.library import Library
from services.validator.core.declared.moulds import Target
from services.validator.core.declared.stencils import Pieces, read_pieces
from services.validator.core.parts import in_order
from services.validator.core.texts import texts_of

SMALLEST_PASS = 256
"""Lines below which a pass over columns costs more than handing them to the reference."""
SMALLEST_MOULD = 4
"""Lines of one kind below which they are not worth a mould."""

_ATTEMPTS = 3
"""Moulds that are tried on a line: several kinds of lines may look the same to the guess."""
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


class Certifier:
    """Certifies lines block by block, and remembers the moulds it has met.

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
        self._library = Library(columns, ",")

    def certify(self, lines: Sequence[bytes]) -> Certified:
        """The lines of one block that are proven to be rows, with the values the reference would give them."""
        texts = texts_of(lines)
        self._library = self._library.ready_for(_comma(lines[:_SAMPLE]))
        pieces = texts.str.split(self._library.separator)
        # The first letters of a line's keys mostly tell which keys there are, and cost next to nothing.
        prints = pieces.list.eval(pl.element().cast(pl.Binary).bin.get(0, null_on_oob=True)).hash()
        pending = pl.arange(len(lines), dtype=pl.UInt32, eager=True)
        parts: list[tuple[pl.DataFrame, pl.Series]] = []
        unknown: set[str] = set()
        for attempt in range(_ATTEMPTS):
            if len(pending) < self._smallest_pass:
                break
            numbers = self._library.assign(texts, prints, pending, attempt, fewest=self._smallest_mould)
            if numbers.null_count():
                pending, numbers = pending.filter(numbers.is_not_null()), numbers.drop_nulls()
            if len(pending) < self._smallest_pass:
                break
            frame, fits = self._read(pieces if len(pending) == len(lines) else pieces.gather(pending), numbers)
            parts.append((frame, pending.filter(fits)))
            unknown |= self._library.unknown(numbers.filter(fits).unique())
            pending = pending.filter(~fits)
        frame, indexes = in_order(parts, self._schema)
        is_left = pl.repeat(value=True, n=len(lines), eager=True).scatter(indexes, values=False)
        return Certified(frame, indexes, is_left.arg_true(), unknown)

    def _read(self, pieces: pl.Series, numbers: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
        """Values of the lines that fit their moulds, and a mask that says which of all lines those are."""
        rows = len(pieces)
        codes, stencils = self._library.codes(numbers)
        is_whole = (codes.list.len() == pieces.list.len()).fill_null(value=False)
        if not is_whole.all():  # two kinds of lines with one hash
            chosen = is_whole.arg_true()
            frame, fits = self._read(pieces.gather(chosen), numbers.gather(chosen))
            return frame, pl.repeat(value=False, n=rows, eager=True).scatter(chosen.filter(fits), values=True)
        at = pl.DataFrame([codes.alias("code"), pl.arange(rows, dtype=pl.UInt32, eager=True).alias("row")])
        places = at.select(pl.col("code") * pl.lit(rows, pl.UInt32) + pl.col("row")).to_series()
        flat, codes, places = (each.explode(empty_as_null=False) for each in (pieces, codes, places))
        fits, read = read_pieces(Pieces(flat, codes, places, rows), stencils)
        values: dict[Target, list[pl.Series]] = {}
        for target, value in read:
            values.setdefault(target, []).append(value)
        return self._frame(values, fits), fits

    def _frame(self, values: Mapping[Target, Sequence[pl.Series]], fits: pl.Series) -> pl.DataFrame:
        # Of several stencils for one value, whichever has it.
        parts = {target: pl.lit(of[0]) if len(of) == 1 else pl.coalesce(of) for target, of in values.items()}
        columns = []
        for name, dtype in self._schema.items():
            whole, latitude, longitude = (parts.get(Target(name, part)) for part in ("", "latitude", "longitude"))
            if latitude is not None and longitude is not None:
                point = pl.struct(latitude.alias("latitude"), longitude.alias("longitude"))
                whole = pl.when(latitude.is_not_null()).then(point)
            columns.append((pl.lit(None, dtype) if whole is None else whole).alias(name))
        frame = fits.to_frame("fits").with_columns(columns).select(self._schema.names())
        return frame if fits.all() else frame.filter(fits)


def _comma(lines: Sequence[bytes]) -> str:
    """How most lines separate two members."""
    spaced = sum(line.count(b'", "') > line.count(b'","') for line in lines)
    return ", " if 2 * spaced > len(lines) else ","
