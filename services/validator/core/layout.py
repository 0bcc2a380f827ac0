r"""The fast path: certify ordinary documents by the column, without a JSON parser.

How a row is proven: a *layout* is a sequence of distinct plain keys and one way of spacing. Splitting a document
at ``, "`` (or ``,"``) yields exactly the layout's number of pieces; the first begins with ``{"key": ``, every other
with the rest of its own key; each value matches a pattern that admits one whole JSON token without backslash,
control character or inner quote; the last piece ends with ``}``. Joining the pieces again gives the document, so
the document *is* that JSON object, and each value is what its rule says. Nothing here is trusted but that.

Layouts are guessed from documents that are not certified yet; a wrong guess certifies nothing. Most members have
few distinct values, so each distinct piece is judged once and the rows only look it up.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import NamedTuple

import polars as pl

from services.validator.core.columns import Rule

_OPENING = '{"'
_MOST_DISTINCT = 4_096
_SMALLEST_DICTIONARY = 1_024


class Judgement(NamedTuple):
    """Values of some pieces, and which of the pieces are proven (never null)."""

    proven: pl.Series
    values: pl.Series


class _Member:
    """One member of a layout, with the distinct pieces proven so far.

    Attributes:
        known: the proven pieces.
        values: what each of them means, in the same order.
        is_varied: there are too many distinct pieces for a look-up to pay.
    """

    def __init__(self, key: str, rule: Rule, prefix: str, *, is_last: bool) -> None:
        self.key = key
        self.prefix = prefix
        self._rule = rule
        self._is_last = is_last
        self.known = pl.Enum([])
        self.values = self.judge(pl.Series(dtype=pl.String)).values
        self.is_varied = False

    def codes(self) -> pl.Expr:
        """Position of each piece among the known ones, null for a stranger."""
        return pl.col(self.key).cast(self.known, strict=False).to_physical()

    def learn(self, strangers: pl.Series) -> bool:
        """Judge distinct pieces that are not known yet; whether any is known now that was not before."""
        if len(strangers) + len(self.known.categories) > _MOST_DISTINCT:
            self.is_varied = True
            return False
        proven, values = self.judge(strangers)
        if not proven.any():
            return False
        self.known = pl.Enum(pl.concat([self.known.categories, strangers.filter(proven)]))
        self.values = pl.concat([self.values, values.filter(proven)], rechunk=True)
        return True

    def judge(self, pieces: pl.Series) -> Judgement:
        """Judge each piece by itself."""
        piece = pl.col("piece")
        token = piece.str.slice(len(self.prefix))
        framed = piece.str.starts_with(self.prefix)
        if self._is_last:
            token = token.str.head(-1)
            framed &= piece.str.ends_with("}")
        # Step by step, because an expression that is used twice is computed twice. What does not match becomes null
        # before it is read: there is no telling what a conversion would make of it.
        parts = pieces.alias("piece").to_frame().select(token.alias("token"), framed.alias("framed"))
        token = pl.col("token")
        matches = parts["framed"] & parts["token"].str.contains(self._rule.pattern)
        proven = matches.fill_null(value=False)
        if not proven.all():
            parts = parts.select(pl.when(proven).then(token).alias("token"))
        values = parts.select(self._rule.read(token).alias("value")).to_series()
        if not self._rule.nullable:
            proven &= values.is_not_null()
        return Judgement(proven, values)


class Layout:
    """One sequence of members in one spacing: what a single producer writes.

    Args:
        members: distinct keys, which JSON writes as they are, each with the rule for its value.
        colon: what stands between a key and its value.
        comma: what stands between two members.
    """

    def __init__(self, members: Sequence[tuple[str, Rule]], colon: str, comma: str) -> None:
        self._separator = comma + '"'
        last = len(members) - 1
        self._members = [
            _Member(key, rule, f'{"" if place else _OPENING}{key}"{colon}{rule.opening}', is_last=place == last)
            for place, (key, rule) in enumerate(members)
        ]

    def certify(self, texts: pl.Series, *, is_mixed: bool) -> tuple[pl.DataFrame, pl.Series]:
        """Values of the proven texts, a column a key, and a mask that says which of all texts those are.

        Args:
            texts: documents as strings; null for what is not text.
            is_mixed: many texts may be of other layouts, so looking at the keys first is worth its cost.
        """
        if not is_mixed:
            return self._certify(self._split(texts))
        # Most of the others already begin otherwise, which is much cheaper to see than to split them.
        chosen = texts.str.starts_with(self._members[0].prefix).fill_null(value=False).arg_true()
        pieces = self._split(texts.gather(chosen))
        begins = [pl.col(member.key).str.starts_with(member.prefix) for member in self._members]
        has_keys = pieces.select(pl.all_horizontal(begins)).to_series().fill_null(value=False)
        values, proven = self._certify(pieces.filter(has_keys))
        chosen = chosen.filter(has_keys).filter(proven)
        return values, pl.repeat(value=False, n=len(texts), eager=True).scatter(chosen, values=True)

    def _split(self, texts: pl.Series) -> pl.DataFrame:
        # The last piece keeps whatever follows, so no text is cut off unseen; a missing piece is null.
        pieces = texts.str.splitn(self._separator, len(self._members)).struct.unnest()
        pieces.columns = [member.key for member in self._members]
        return pieces

    def _certify(self, pieces: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        repeating = [
            member for member in self._members if pieces.height >= _SMALLEST_DICTIONARY and not member.is_varied
        ]
        judgements = {m.key: m.judge(pieces[m.key]) for m in self._members if m not in repeating}
        proven = reduce(and_, [judgement.proven for judgement in judgements.values()], _all_of(pieces))
        codes = self._look_up(pieces, repeating, proven)
        for member in repeating:
            if member.is_varied:
                judgements[member.key] = member.judge(pieces[member.key])
                proven &= judgements[member.key].proven
        if codes.width:
            proven &= codes.select(known=pl.all_horizontal(pl.all().is_not_null())).to_series()
        values = [judgement.values.filter(proven).alias(key) for key, judgement in judgements.items()]
        if codes.width:
            tables = {member.key: member.values for member in self._members}
            meanings = [pl.lit(tables[key]).gather(pl.col(key)).alias(key) for key in codes.columns]
            values += codes.filter(proven).select(meanings).get_columns()
        return pl.DataFrame(values), proven

    def _look_up(self, pieces: pl.DataFrame, members: Sequence[_Member], plausible: pl.Series) -> pl.DataFrame:
        """Codes of the members whose values repeat; strangers in plausible rows are learnt on the way."""
        codes = pieces.select(member.codes() for member in members)
        for member in members:
            if not codes[member.key].null_count():
                continue
            is_strange = codes[member.key].is_null() & plausible
            strangers = pieces[member.key].filter(is_strange).drop_nulls().unique()
            if len(strangers) and member.learn(strangers):
                codes = codes.with_columns(pieces.select(member.codes()).to_series())
        return codes.drop(member.key for member in members if member.is_varied)


def _all_of(pieces: pl.DataFrame) -> pl.Series:
    return pl.repeat(value=True, n=pieces.height, eager=True)
