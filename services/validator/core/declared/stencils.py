"""Reading many pieces through their stencils: which rows fit, and what their values are.

Everything is asked of polars for all stencils at once: a call costs more than the work on one column of a block.
"""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from services.validator.core.declared.moulds import Slot, Stencil, Target
from services.validator.core.declared.rules import TOKENS, UNREAD


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
    """One slot of one stencil: the columns that its tokens and its pieces are in."""

    name: str
    piece: str
    slot: Slot


def read_pieces(pieces: pl.DataFrame, stencils: Mapping[str, Stencil]) -> Fitting:
    """Read a block of pieces, a column for each stencil; null is none, and fits."""
    tokens = [
        _Token(f"{name}.{i}", name, slot) for name, stencil in stencils.items() for i, slot in enumerate(stencil.slots)
    ]
    split = pieces.select(_split(name, stencil) for name, stencil in stencils.items() if stencil.slots)
    split = split.unnest([name for name, stencil in stencils.items() if len(stencil.slots) > 1])
    framed = pieces.hstack(split.get_columns())
    proven = framed.select(_proof(token, stencils[token.piece]).alias(token.name) for token in tokens)
    is_clean = proven.select(pl.all().all()).row(0, named=True) if tokens else {}
    # What does not match must not be read: there is no telling what a conversion would make of it.
    masks = proven.select(pl.col(name).alias(f"{name}?") for name, clean in is_clean.items() if not clean)
    values = split.hstack(masks.get_columns()).select(
        token.slot.rule.read(
            pl.col(token.name) if is_clean[token.name] else pl.when(f"{token.name}?").then(token.name)
        ).alias(token.name)
        for token in tokens
        if token.slot.rule is not None
    )
    misfits = [pl.col(t.piece).is_not_null() & ~pl.lit(proven[t.name]).fill_null(value=False) for t in tokens]
    misfits += [pl.col(t.piece).is_not_null() & pl.lit(values[t.name]).is_null() for t in tokens if t.slot.rule]
    misfits += [pl.col(name) != stencil.texts[0] for name, stencil in stencils.items() if not stencil.slots]
    fits = pieces.select(~pl.any_horizontal(misfits).fill_null(value=False)).to_series()
    return Fitting(fits, [(t.slot.target, values[t.name]) for t in tokens if t.slot.target is not None])


def _split(name: str, stencil: Stencil) -> pl.Expr:
    """What stands in the slots; of a single slot more than that where the text around it is another."""
    piece = pl.col(name).str
    if len(stencil.slots) == 1:
        before, after = stencil.texts
        token = piece.strip_prefix(before)
        return (token.str.strip_suffix(after) if after else token).alias(f"{name}.0")
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
