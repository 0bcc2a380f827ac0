"""Reading many pieces through their stencils: which rows fit, and what their values are.

Everything is asked of polars for all stencils at once: a call costs more than the work on one column of a block.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from services.validator.core.declared.moulds import Slot, Stencil, Target
from services.validator.core.declared.rules import TOKENS, UNREAD, Kind

_SPECIAL = bytes(range(0x20)) + b'"\\'
"""Characters that no JSON string holds as they stand."""


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
    """One slot of one stencil: the columns that its tokens and its pieces are in, their proofs and their values."""

    name: str
    piece: str
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


def read_pieces(pieces: pl.DataFrame, stencils: Mapping[str, Stencil]) -> Fitting:
    """Read a block of pieces, a column for each stencil; null is none, and fits."""
    tokens = [
        _Token(f"{name}.{i}", name, slot) for name, stencil in stencils.items() for i, slot in enumerate(stencil.slots)
    ]
    split = pieces.select(_split(name, stencil) for name, stencil in stencils.items() if stencil.slots)
    split = split.unnest([name for name, stencil in stencils.items() if len(stencil.slots) > 1])
    spotless = _spotless(split, [token.name for token in tokens if token.is_plain])
    proven = split.select(_proof(token) for token in tokens if token.name not in spotless)
    is_clean = proven.select(pl.all().all()).row(0, named=True) if proven.width else {}
    values = split.hstack(proven.get_columns()).select(
        # What does not match must not be read: there is no telling what a conversion would make of it.
        rule.read(
            pl.col(token.name) if is_clean.get(token.proof, True) else pl.when(token.proof).then(token.name)
        ).alias(token.value)
        for token in tokens
        if (rule := token.slot.rule) is not None
    )
    reasons = [_frame(name, stencil) for name, stencil in stencils.items()]
    reasons += [pl.col(name) for name in proven.columns]
    reasons += [
        pl.col(token.value).is_not_null() | pl.col(token.piece).is_null()
        for token in tokens
        if token.slot.rule is not None and token.slot.rule.is_partial
    ]
    held = pieces.hstack([*split.get_columns(), *proven.get_columns(), *values.get_columns()])
    # A piece that is not there has no proof either, and is no reason against its row.
    fits = held.select(pl.all_horizontal(reasons).fill_null(value=True).alias("fits")).to_series()
    return Fitting(fits, [(t.slot.target, values[t.value]) for t in tokens if t.slot.target is not None])


def _spotless(split: pl.DataFrame, names: Sequence[str]) -> set[str]:
    """The columns of tokens none of which has a character that would need a closer look."""
    joined = split.select(pl.col(names).str.join("").cast(pl.Binary)).row(0, named=True) if names else {}
    return {name for name, text in joined.items() if len(text) == len(text.translate(None, _SPECIAL))}


def _frame(name: str, stencil: Stencil) -> pl.Expr:
    """Whether the text around the slots is the stencil's."""
    piece = pl.col(name)
    if not stencil.slots:
        return piece == stencil.texts[0]
    if len(stencil.slots) > 1:
        return piece.is_null() | pl.col(f"{name}.0").is_not_null()
    around = sum(len(text.encode()) for text in stencil.texts)
    return piece.str.len_bytes() == pl.col(f"{name}.0").str.len_bytes() + around


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


def _proof(token: _Token) -> pl.Expr:
    pattern = UNREAD[token.slot.kind] if token.slot.rule is None else token.slot.rule.pattern
    return pl.col(token.name).str.contains(f"^(?:{pattern})$").alias(token.proof)
