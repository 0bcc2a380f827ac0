"""Reading many pieces through their stencils: which rows fit, and what their values are.

Most columns repeat few values, so each distinct piece is judged once and the rows only look it up. Everything is asked
of polars for all stencils at once: one call costs more than the work on a column of a small block.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

from services.validator.core.declared.moulds import Slot, Stencil, Target
from services.validator.core.declared.rules import TOKENS, UNREAD

_MOST_DISTINCT = 4_096
_SMALLEST_DICTIONARY = 1_024
_REPEATS = 4
"""A dictionary pays where each piece that is new to it stands at least this often."""


class Fitting(NamedTuple):
    """What came of reading pieces, a column for each stencil.

    Attributes:
        fits: rows all of whose pieces fit (never null).
        values: of each target, from one stencil or several; null where that has no piece. Rows that do not fit may
            have any.
    """

    fits: pl.Series
    values: list[tuple[Target, pl.Series]]


class StencilReader:
    """Reads pieces through one stencil after the other has proven them, and remembers distinct ones.

    Attributes:
        stencil: what the pieces have in common.
        known: the distinct pieces that are proven to fit; None once there are too many for a look-up to pay.
        meanings: their values, in the same order.
    """

    def __init__(self, stencil: Stencil) -> None:
        self.stencil = stencil
        self.known: pl.Enum | None = pl.Enum([])
        self.meanings: list[tuple[Target, pl.Series]] = []

    def learn(self, strangers: pl.Series) -> None:
        """Judge pieces that are not known yet."""
        if self.known is None:
            return
        distinct = strangers.unique()
        seen = len(distinct) + len(self.known.categories)
        if seen > _MOST_DISTINCT or len(distinct) * _REPEATS > len(strangers) + _SMALLEST_DICTIONARY:
            self.known = None
            return
        fits, values = judge([("piece", self.stencil)], distinct.alias("piece").to_frame())
        before = self.meanings or [(target, value.clear()) for target, value in values]
        added = [value.filter(fits) for _, value in values]
        self.known = pl.Enum(pl.concat([self.known.categories, distinct.filter(fits)]))
        self.meanings = [
            (target, pl.concat([known, new], rechunk=True)) for (target, known), new in zip(before, added, strict=True)
        ]


def read(readers: Iterable[tuple[str, StencilReader]], pieces: pl.DataFrame) -> Fitting:
    """Read a block of pieces; null is none."""
    by_name = dict(readers)
    codes = _look_up({name: reader for name, reader in by_name.items() if reader.known is not None}, pieces)
    fits, values = judge([(n, r.stencil) for n, r in by_name.items() if n not in codes.columns], pieces)
    if codes.width:
        strange = [pl.col(name).is_null() & pl.lit(pieces[name]).is_not_null() for name in codes.columns]
        fits &= ~codes.select(pl.any_horizontal(strange)).to_series()
        looked = [(name, target, known) for name in codes.columns for target, known in by_name[name].meanings]
        found = codes.select(pl.lit(k).gather(pl.col(n)).alias(str(i)) for i, (n, _, k) in enumerate(looked))
        values += [(target, found[str(i)]) for i, (_, target, _) in enumerate(looked)]
    return Fitting(fits, values)


def _look_up(readers: Mapping[str, StencilReader], pieces: pl.DataFrame) -> pl.DataFrame:
    """The place of each piece among the known ones, null for a stranger; strangers are learnt on the way."""
    if pieces.height < _SMALLEST_DICTIONARY or not readers:
        return pl.DataFrame()
    codes = pieces.select(_code(name, reader.known) for name, reader in readers.items())
    counts = zip(codes.columns, codes.null_count().row(0), pieces.select(readers.keys()).null_count().row(0), strict=True)
    strange = [name for name, unknown, empty in counts if unknown > empty]
    for name in strange:
        readers[name].learn(pieces[name].filter(codes[name].is_null()).drop_nulls())
    again = [_code(name, readers[name].known) for name in strange if readers[name].known is not None]
    return codes.with_columns(pieces.select(again)).drop([name for name in strange if readers[name].known is None])


def _code(name: str, known: pl.Enum | None) -> pl.Expr:
    return pl.col(name).cast(known or pl.Enum([]), strict=False).to_physical()


class _Token(NamedTuple):
    """One slot of one stencil, and the column that its tokens are in."""

    name: str
    piece: str
    slot: Slot


def judge(stencils: Iterable[tuple[str, Stencil]], pieces: pl.DataFrame) -> Fitting:
    """Judge every piece by itself, without a dictionary."""
    by_name = dict(stencils)
    tokens = [
        _Token(f"{name}.{i}", name, slot)
        for name, stencil in by_name.items()
        for i, slot in enumerate(stencil.slots)
    ]
    split = pieces.select(_split(name, stencil) for name, stencil in by_name.items() if stencil.slots)
    split = split.unnest([name for name, stencil in by_name.items() if len(stencil.slots) > 1])
    framed = pieces.hstack(split.get_columns())
    proven = framed.select(_proof(token, by_name[token.piece]).alias(token.name) for token in tokens)
    clean = proven.select(pl.all().all()).row(0, named=True) if tokens else {}
    taken = [(token.name, token.slot.rule) for token in tokens if token.slot.rule is not None]
    # What does not match must not be read: there is no telling what a conversion would make of it.
    masks = proven.select(pl.col(name).alias(f"{name}?") for name, whole in clean.items() if not whole)
    values = split.hstack(masks.get_columns()).select(
        rule.read(pl.col(name) if clean[name] else pl.when(f"{name}?").then(name)).alias(name) for name, rule in taken
    )
    misfits = [pl.col(t.piece).is_not_null() & ~pl.lit(proven[t.name]).fill_null(value=False) for t in tokens]
    misfits += [pl.col(t.piece).is_not_null() & pl.lit(values[t.name]).is_null() for t in tokens if t.slot.rule]
    misfits += [pl.col(name) != stencil.texts[0] for name, stencil in by_name.items() if not stencil.slots]
    if not misfits:
        return Fitting(pl.repeat(value=True, n=pieces.height, eager=True), [])
    fits = pieces.select(~pl.any_horizontal(misfits).fill_null(value=False)).to_series()
    return Fitting(fits, [(t.slot.target, values[t.name]) for t in tokens if t.slot.target is not None])


def _split(name: str, stencil: Stencil) -> pl.Expr:
    """What stands in the slots of a stencil; of a single slot more than that where the text around it is another."""
    piece = pl.col(name).str
    if len(stencil.slots) == 1:
        before, after = stencil.texts
        return piece.strip_prefix(before).str.strip_suffix(after).alias(f"{name}.0")
    gaps = [f"({(UNREAD if slot.target is None else TOKENS)[slot.kind]})" for slot in stencil.slots]
    first, *texts = [pl.escape_regex(text) for text in stencil.texts]
    pattern = "^" + first + "".join(gap + text for gap, text in zip(gaps, texts, strict=True)) + "$"
    names = [f"{name}.{i}" for i in range(len(gaps))]
    return piece.extract_groups(pattern).struct.rename_fields(names).alias(name)


def _proof(token: _Token, stencil: Stencil) -> pl.Expr:
    pattern = UNREAD[token.slot.kind] if token.slot.rule is None else token.slot.rule.pattern
    matches = pl.col(token.name).str.contains(f"^(?:{pattern})$")
    if len(stencil.slots) > 1:
        return matches
    around = sum(len(text.encode()) for text in stencil.texts)
    return matches & (pl.col(token.piece).str.len_bytes() == pl.col(token.name).str.len_bytes() + around)
