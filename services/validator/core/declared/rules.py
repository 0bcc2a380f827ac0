"""What the fast path may read by itself: patterns that prove a token for a column type, and its value.

Each rule is narrower than ``values`` on purpose. What a pattern lets through means exactly what ``read`` gives;
everything else, good or bad, is the reference's to decide.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import polars as pl


class Kind(StrEnum):
    """How a value is written in JSON."""

    TEXT = "text"
    NUMBER = "number"
    WORD = "word"


# A JSON string may hold any character but these as it stands; with no backslash it also means what it says.
_CHARACTER = r'[^"\\\x00-\x1f]'
_INTEGER = "-?(?:0|[1-9][0-9]{0,17})"
_DECIMALS = r"(?:\.[0-9]{1,18})?"
_DAY = "[0-9]{3}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_OFFSET = "[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]"

TOKENS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.TEXT: rf"{_CHARACTER}*",
        Kind.NUMBER: r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
        Kind.WORD: "true|false",
    }
)
"""Whole tokens of each kind, texts without their quotes."""

UNREAD: Mapping[Kind, str] = MappingProxyType({**TOKENS, Kind.TEXT: rf'(?:{_CHARACTER}|\\["\\/bfnrt])*'})
"""The same for values that no column takes: there, escapes may stand that need no look at what they spell."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to write a column's value.

    Attributes:
        pattern: regular expression for the whole token, as Rust and Python read it; only a match may be read.
        read: tokens that match, and nulls → values.
        is_partial: the value of a match may be null, and is not certified then: no such day is in the calendar.
    """

    pattern: str
    read: Callable[[pl.Expr], pl.Expr]
    is_partial: bool = False


def rule_for(what: str, kind: Kind, sample: str) -> Rule | None:
    """The rule for values that look like the sample; None if those are left to the reference.

    Args:
        what: a column type, or a part of a point: latitude, longitude, or type in GeoJSON.
        kind: how they are written.
        sample: a token.
    """
    rules = _RULES.get((what, kind), ())
    return next((rule for rule in rules if re.fullmatch(rule.pattern, sample)), rules[0] if rules else None)


def _same(token: pl.Expr) -> pl.Expr:
    return token


def _int32(token: pl.Expr) -> pl.Expr:
    return token.cast(pl.Int32, strict=False)


def _int64(token: pl.Expr) -> pl.Expr:
    return token.cast(pl.Int64, strict=False)


def _decimal(token: pl.Expr) -> pl.Expr:
    return token.cast(pl.Float64, strict=False)


def _boolean(token: pl.Expr) -> pl.Expr:
    return token.eq("true")


def _date(token: pl.Expr) -> pl.Expr:
    # A day that is not in the calendar becomes null. A cache would cost more than it saves on short columns.
    return token.str.to_date("%Y-%m-%d", strict=False, cache=False)


def _floating(token: pl.Expr) -> pl.Expr:
    return _moment(token, token.str.slice(19))


def _zulu(token: pl.Expr) -> pl.Expr:
    return _moment(token, token.str.slice(19).str.head(-1)).dt.replace_time_zone("UTC")


def _offset(token: pl.Expr) -> pl.Expr:
    minutes = token.str.slice(-5, 2).cast(pl.Int64, strict=False) * 60 + token.str.tail(2).cast(pl.Int64, strict=False)
    ahead = pl.when(token.str.slice(-6, 1) == "-").then(-minutes).otherwise(minutes)
    moment = _moment(token, token.str.slice(19).str.head(-6)) - pl.duration(minutes=ahead, time_unit="us")
    return moment.dt.replace_time_zone("UTC")


def _moment(token: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    seconds = token.str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False, cache=False)
    # ".25" is a quarter of a second; six digits survive the way through a float when it is rounded.
    micros = (fraction.cast(pl.Float64, strict=False).fill_null(0.0) * 1e6).round().cast(pl.Int64)
    return (seconds.to_physical() + micros).cast(pl.Datetime("us"))


_RULES: Mapping[tuple[str, Kind], tuple[Rule, ...]] = MappingProxyType(
    {
        ("string", Kind.TEXT): (Rule(TOKENS[Kind.TEXT], _same),),
        ("string", Kind.NUMBER): (Rule(TOKENS[Kind.NUMBER], _same),),
        ("string", Kind.WORD): (Rule(TOKENS[Kind.WORD], _same),),
        ("int32", Kind.TEXT): (Rule("-?[0-9]{1,9}", _int32),),
        ("int32", Kind.NUMBER): (Rule("-?(?:0|[1-9][0-9]{0,8})", _int32),),
        ("int64", Kind.TEXT): (Rule("-?[0-9]{1,18}", _int64),),
        ("int64", Kind.NUMBER): (Rule(_INTEGER, _int64),),
        ("float64", Kind.TEXT): (Rule(f"-?[0-9]{{1,18}}{_DECIMALS}", _decimal),),
        ("float64", Kind.NUMBER): (Rule(_INTEGER + _DECIMALS, _decimal),),
        ("boolean", Kind.TEXT): (Rule(TOKENS[Kind.WORD], _boolean),),
        ("boolean", Kind.WORD): (Rule(TOKENS[Kind.WORD], _boolean),),
        # Years that no offset can push over the edge of the calendar, and none below 1000, which engines print apart.
        ("date", Kind.TEXT): (Rule(f"[1-9]{_DAY}", _date, is_partial=True),),
        ("timestamp_us", Kind.TEXT): (Rule(f"[1-9]{_DAY}{_CLOCK}", _floating, is_partial=True),),
        ("timestamp_us_utc", Kind.TEXT): (
            Rule(f"[1-8]{_DAY}{_CLOCK}Z", _zulu, is_partial=True),
            Rule(f"[1-8]{_DAY}{_CLOCK}{_OFFSET}", _offset, is_partial=True),
        ),
        # Degrees inside the limits; those on them are rare.
        ("latitude", Kind.TEXT): (Rule(f"-?[0-8]?[0-9]{_DECIMALS}", _decimal),),
        ("latitude", Kind.NUMBER): (Rule(f"-?(?:[1-8][0-9]|[0-9]){_DECIMALS}", _decimal),),
        ("longitude", Kind.TEXT): (Rule(f"-?(?:1[0-7][0-9]|[0-9]{{1,2}}){_DECIMALS}", _decimal),),
        ("longitude", Kind.NUMBER): (Rule(f"-?(?:1[0-7][0-9]|[1-9]?[0-9]){_DECIMALS}", _decimal),),
        ("type", Kind.TEXT): (Rule("Point", _same),),
    }
)
