"""Reading many pieces through their stencils: which rows fit, and what their values are.

Everything is asked of polars for all pieces, or for all stencils, at once: a call costs more than the work on one
column of a block, and pieces that lie one after the other in memory are read faster than those of one column.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from services.validator.core.declared.moulds import Slot, Stencil, Target
from services.validator.core.declared.rules import TOKENS, UNREAD, Kind

_SPECIAL = bytes(range(0x20)) + b'"\\'
"""Characters that no JSON string holds as they stand."""
_LONGEST = 2**30
"""More characters than a piece can have."""


class Pieces(NamedTuple):
    """The pieces of some rows.

    Attributes:
        flat: all of them, row after row.
        codes: the number of the stencil that each should fit; no two pieces of a row have the same.
        places: code * rows + row of each.
        rows: how many rows there are.
    """

    flat: pl.Series
    codes: pl.Series
    places: pl.Series
    rows: int


class Fitting(NamedTuple):
    """What came of reading pieces.

    Attributes:
        fits: rows all of whose pieces fit (never null).
        values: of each target, from one stencil or several; null where that stencil has no piece. Rows that do not
            fit may have any.
    """

    fits: pl.Series
    values: list[tuple[Target, pl.Series]]


class _Token(NamedTuple):
    """One slot of one stencil, and the column that its tokens are in."""

    name: str
    slot: Slot

    @property
    def proof(self) -> str:
        """Column that says which of them match."""
        return f"{self.name}?"

    @property
    def value(self) -> str:
        """Column of what they mean."""
        return f"{self.name}="

    @property
    def is_plain(self) -> bool:
        """Whether any text will do."""
        rule = self.slot.rule
        return self.slot.kind is Kind.TEXT and (rule is None or rule.pattern == TOKENS[Kind.TEXT])


def read_pieces(pieces: Pieces, stencils: Sequence[Stencil]) -> Fitting:
    """Read pieces through their stencils, given by number."""
    # In most pieces all that varies is a text at the end. Those are cut, and mostly proven, all in one go.
    tails = {number for number, stencil in enumerate(stencils) if _is_tail(stencil)}
    others = [number for number in range(len(stencils)) if number not in tails]
    texts, misfits = _cut(pieces, [stencil if n in tails else None for n, stencil in enumerate(stencils)])
    is_spotless = _is_spotless(texts)
    read = [number for number in sorted(tails) if stencils[number].slots[0].target is not None or not is_spotless]
    held = _columns(pieces, texts, len(stencils), read, others)
    held = held.with_columns(_split(number, stencils[number]) for number in others if stencils[number].slots)
    held = held.unnest([f"{number}.*" for number in others if len(stencils[number].slots) > 1])
    tokens = [_Token(f"{n}.{i}", slot) for n in (*read, *others) for i, slot in enumerate(stencils[n].slots)]
    plain = {token.name for token in tokens if token.is_plain}
    proven = plain & {f"{number}.0" for number in read} if is_spotless else set()
    proven |= _spotless(held, sorted(plain - proven))
    held = held.with_columns(_proof(token) for token in tokens if token.name not in proven)
    proofs = [token.proof for token in tokens if token.name not in proven]
    is_clean = held.select(pl.col(proofs).all()).row(0, named=True) if proofs else {}
    # What does not match must not be read: there is no telling what a conversion would make of it.
    held = held.with_columns(
        rule.read(
            pl.col(token.name) if is_clean.get(token.proof, True) else pl.when(token.proof).then(token.name)
        ).alias(token.value)
        for token in tokens
        if (rule := token.slot.rule) is not None
    )
    reasons = [pl.lit(pl.repeat(value=True, n=pieces.rows, eager=True).scatter(misfits, values=False))]
    reasons += [_frame(number, stencils[number]) for number in others]
    reasons += [pl.col(proof) for proof in proofs]
    reasons += [
        pl.col(token.value).is_not_null() | pl.col(token.name).is_null()
        for token in tokens
        if token.slot.rule is not None and token.slot.rule.is_partial
    ]
    # A piece that is not there has no proof either, and is no reason against its row.
    fits = held.select(pl.all_horizontal(reasons).fill_null(value=True).alias("fits")).to_series()
    return Fitting(fits, [(t.slot.target, held[t.value]) for t in tokens if t.slot.target is not None])


def _is_tail(stencil: Stencil) -> bool:
    """Whether the only thing that varies is a text at the end."""
    return len(stencil.slots) == 1 and stencil.slots[0].kind is Kind.TEXT and not stencil.texts[1]


def _cut(pieces: Pieces, tails: Sequence[Stencil | None]) -> tuple[pl.Series, pl.Series]:
    """The text at the end of each piece of these stencils, "" for others; and rows in which such a piece is another."""
    before = [stencil.texts[0] if stencil is not None else "" for stencil in tails]
    table = pl.DataFrame(
        {
            "before": before,
            "start": pl.Series([len(text) for text in before], dtype=pl.UInt32),
            "length": pl.Series([_LONGEST if stencil is not None else 0 for stencil in tails], dtype=pl.UInt32),
        }
    )
    held = table[pieces.codes].with_columns(pieces.flat.alias("piece"))
    piece = pl.col("piece").str
    fits = held.select(piece.starts_with(pl.col("before"))).to_series()
    texts = held.select(piece.slice(pl.col("start"), pl.col("length"))).to_series()
    return texts, (pieces.places.filter(~fits) % pieces.rows).unique()


def _columns(
    pieces: Pieces, texts: pl.Series, stencils: int, read: Sequence[int], others: Sequence[int]
) -> pl.DataFrame:
    """A column of texts for some stencils, and of whole pieces for others; null where a row has none."""
    order = pl.arange(len(pieces.flat), dtype=pl.UInt32, eager=True)
    empty = pl.repeat(None, stencils * pieces.rows, dtype=pl.UInt32, eager=True)
    layout = empty.scatter(pieces.places, order)

    def at(number: int) -> pl.Expr:
        return pl.col("at").slice(number * pieces.rows, pieces.rows)

    return layout.to_frame("at").select(
        *(pl.lit(texts).gather(at(number)).alias(f"{number}.0") for number in read),
        *(pl.lit(pieces.flat).gather(at(number)).alias(f"{number}") for number in others),
    )


def _is_spotless(texts: pl.Series) -> bool:
    """Whether none of them has a character that would need a closer look."""
    joined: bytes = texts.str.join("").cast(pl.Binary)[0]
    return len(joined) == len(joined.translate(None, _SPECIAL))


def _spotless(held: pl.DataFrame, names: Sequence[str]) -> set[str]:
    """Those of these columns of texts that are."""
    return {name for name in names if _is_spotless(held[name])}


def _split(number: int, stencil: Stencil) -> pl.Expr:
    """What stands in the slots; of a single slot more than that where the text around it is another."""
    piece = pl.col(f"{number}").str
    if len(stencil.slots) == 1:
        before, after = stencil.texts
        return piece.strip_prefix(before).str.strip_suffix(after).alias(f"{number}.0")
    gaps = [f"({(UNREAD if slot.target is None else TOKENS)[slot.kind]})" for slot in stencil.slots]
    first, *texts = [pl.escape_regex(text) for text in stencil.texts]
    pattern = "^" + first + "".join(gap + text for gap, text in zip(gaps, texts, strict=True)) + "$"
    names = [f"{number}.{i}" for i in range(len(gaps))]
    return piece.extract_groups(pattern).struct.rename_fields(names).alias(f"{number}.*")


def _frame(number: int, stencil: Stencil) -> pl.Expr:
    """Whether the text around the slots is the stencil's."""
    piece = pl.col(f"{number}")
    if not stencil.slots:
        return piece == stencil.texts[0]
    if len(stencil.slots) > 1:
        return piece.is_null() | pl.col(f"{number}.0").is_not_null()
    around = sum(len(text.encode()) for text in stencil.texts)
    return piece.str.len_bytes() == pl.col(f"{number}.0").str.len_bytes() + around


def _proof(token: _Token) -> pl.Expr:
    pattern = UNREAD[token.slot.kind] if token.slot.rule is None else token.slot.rule.pattern
    return pl.col(token.name).str.contains(f"^(?:{pattern})$").alias(token.proof)
