"""Certifying documents in bulk: guess the layouts producers write, let each prove what rows it can."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from pydantic import BaseModel

from services.validator.core.columns import Rule, rule_for
from services.validator.core.layout import Layout
from services.validator.core.parts import in_order
from services.validator.core.texts import texts_of

SMALLEST_PASS = 1_024
"""Rows below which a pass over columns costs more than handing them to Pydantic."""

_MOST_LAYOUTS = 16
_MOST_FUTILE = 64
_SAMPLE = 32
_MOST_MEMBERS = 64
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)

_Signature = tuple[tuple[tuple[str, Rule], ...], bool]
"""The members in order, each with the way its value is written; and whether the text is spaced."""


class Certified(NamedTuple):
    """The rows that need no further judging.

    Attributes:
        frame: their columns.
        indexes: their positions in the input, ascending.
        left: positions of the other documents, ascending.
    """

    frame: pl.DataFrame
    indexes: pl.Series
    left: pl.Series


class Certifier:
    """Certifies visit events block by block, and remembers the layouts and values it has met.

    A row it leaves out is not bad: it is Pydantic's to decide.

    Args:
        model: the record's contract; tells which members may be absent, and what that means.
        schema: columns of the frames.
        smallest_pass: rows below which a pass over columns is not worth its fixed cost.
    """

    def __init__(self, model: type[BaseModel], schema: pl.Schema, *, smallest_pass: int = SMALLEST_PASS) -> None:
        self._schema = schema
        self._smallest_pass = smallest_pass
        self._required = {name for name, info in model.model_fields.items() if info.is_required()}
        self._defaults = {name: info.default for name, info in model.model_fields.items() if not info.is_required()}
        self._layouts: dict[_Signature, Layout] = {}
        self._yields: Counter[_Signature] = Counter()
        self._futile: set[_Signature] = set()

    def certify(self, documents: Sequence[bytes]) -> Certified:
        """The rows of one block that are proven to be valid, with the values the model would give them."""
        texts = texts_of(documents)  # null is never proven
        pending = pl.arange(len(documents), dtype=pl.UInt32, eager=True)
        parts: list[tuple[pl.DataFrame, pl.Series]] = []
        waiting = [signature for signature, _ in self._yields.most_common()]
        while len(pending) >= self._smallest_pass:
            signature = waiting.pop(0) if waiting else self._guess(documents, pending)
            if signature is None:
                break
            is_mixed = bool(parts or waiting)
            remaining = texts if len(pending) == len(texts) else texts.gather(pending)
            values, proven = self._layouts[signature].certify(remaining, is_mixed=is_mixed)
            parts.append((self._to_frame(values), pending.filter(proven)))
            pending = pending.filter(~proven)
            if not self._pays_off(signature, values.height):
                break
        return Certified(*in_order(parts, self._schema), pending)

    def _pays_off(self, signature: _Signature, certified: int) -> bool:
        """Forget a new layout that few documents share; the next ones of its kind would cost more than they save."""
        if signature not in self._yields and certified < self._smallest_pass:
            del self._layouts[signature]
            self._futile.add(signature)
            return False
        self._yields[signature] += certified
        return True

    def _to_frame(self, values: pl.DataFrame) -> pl.DataFrame:
        absent = [
            pl.lit(self._defaults[name], dtype=dtype).alias(name)
            for name, dtype in self._schema.items()
            if name not in values.columns
        ]
        return values.with_columns(absent).select(self._schema.names())

    def _guess(self, documents: Sequence[bytes], pending: pl.Series) -> _Signature | None:
        """The commonest layout among a few pending documents that has not been tried, or None."""
        if len(self._layouts) >= _MOST_LAYOUTS or len(self._futile) >= _MOST_FUTILE:
            return None
        tried = self._layouts.keys() | self._futile
        seen = Counter(self._signature(documents[index]) for index in pending.head(_SAMPLE))
        seen[None] = 0
        for signature, count in seen.most_common():
            if count and signature is not None and signature not in tried:
                members, is_spaced = signature
                colon, comma = (": ", ", ") if is_spaced else (":", ",")
                self._layouts[signature] = Layout(members, colon, comma)
                return signature
        return None

    def _signature(self, document: bytes) -> _Signature | None:
        try:
            text = document.decode()
            members = json.loads(text, object_pairs_hook=tuple)
        except (ValueError, RecursionError):  # whatever it is, no layout can be guessed from it
            return None
        if not isinstance(members, tuple) or not 0 < len(members) <= _MOST_MEMBERS:
            return None
        keys = [key for key, _ in members]
        if len(set(keys)) < len(keys) or not self._required <= set(keys):
            return None
        if not all(_PLAIN_KEY.fullmatch(key) for key in keys):
            return None
        is_spaced = text.startswith(f'{{"{keys[0]}": ')
        return tuple((key, rule_for(key, value)) for key, value in members), is_spaced
