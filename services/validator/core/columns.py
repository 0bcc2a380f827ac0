"""How the fast path reads one member of a visit event: a pattern that proves a token, and its column value.

Each rule is narrower than ``contracts.records.VisitEvent`` on purpose. What a pattern lets through is valid for
the model and has the value that ``read`` gives; everything else is Pydantic's to decide.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from contracts.records import ColumnType

_TYPES: Mapping[ColumnType, pl.DataType] = MappingProxyType(
    {
        "string": pl.String(),
        "int32": pl.Int32(),
        "int64": pl.Int64(),
        "float64": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "timestamp_us": pl.Datetime("us"),
        "timestamp_us_utc": pl.Datetime("us", "UTC"),
        "point": pl.Struct({"latitude": pl.Float64(), "longitude": pl.Float64()}),
    }
)


def schema_of(columns: Mapping[str, ColumnType]) -> pl.Schema:
    """The schema of an output with these columns."""
    return pl.Schema({name: _TYPES[kind] for name, kind in columns.items()})


# A JSON string may hold any character but these as it stands; with no backslash it also means what it says.
_CHARACTER = r'[^"\\\x00-\x1f]'
_NUMBER = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?"
_ADCID = "[1-9][0-9]{0,8}"  # at most nine digits always fit 32 bits
# Years 1000 to 2999: no offset can push them over the edge of the calendar, and year 0 cannot occur.
_DATE = r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_MOMENT = rf"{_DATE}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?"
_OFFSET = "[+-](?:0[0-9]|1[0-4]):[0-5][0-9]"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to write a member's value.

    Attributes:
        opening: what stands between ``"key":`` and the token that ``pattern`` sees: a quote, or nothing.
        pattern: Rust regular expression over the rest of the value; a match makes it valid for the model.
        read: token that matches → column value; null says that this token is not certified after all.
        nullable: JSON null is a value too, so a null that ``read`` gives is certified.
    """

    opening: str
    pattern: str
    read: Callable[[pl.Expr], pl.Expr]
    nullable: bool = False


def _text(token: pl.Expr) -> pl.Expr:
    return token.str.head(-1)  # the closing quote


def _text_or_null(token: pl.Expr) -> pl.Expr:
    return pl.when(token.ne("null")).then(token.str.slice(1).str.head(-1))


def _integer(token: pl.Expr) -> pl.Expr:
    return token.str.strip_chars_end('"').cast(pl.Int32(), strict=False)


def _date(token: pl.Expr) -> pl.Expr:
    # A day that is not in the calendar becomes null. A cache would cost more than it saves on short columns.
    return token.str.head(10).str.to_date("%Y-%m-%d", strict=False, cache=False)


def _naive(token: pl.Expr) -> pl.Expr:
    return _instant(token, token.str.slice(19).str.head(-1))


def _utc(token: pl.Expr) -> pl.Expr:
    return _instant(token, token.str.slice(19).str.head(-2))


def _offset(token: pl.Expr) -> pl.Expr:
    minutes = token.str.slice(-6, 2).cast(pl.Int64, strict=False) * 60 + token.str.slice(-3, 2).cast(
        pl.Int64, strict=False
    )
    ahead = pl.when(token.str.slice(-7, 1) == "+").then(minutes).otherwise(-minutes)
    return _instant(token, token.str.slice(19).str.head(-7)) - pl.duration(minutes=ahead, time_unit="us")


def _instant(token: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    seconds = token.str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False, cache=False)
    # ".25" is a quarter of a second; six digits survive the way through a float when it is rounded.
    micros = (fraction.cast(pl.Float64, strict=False).fill_null(0.0) * 1e6).round().cast(pl.Int64, strict=False)
    return (seconds.to_physical() + micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


_LABEL = Rule('"', rf'^{_CHARACTER}+"$', _text)
_OPTIONAL = Rule("", rf'^(?:null|"{_CHARACTER}*")$', _text_or_null, nullable=True)
_UNKNOWN = Rule("", rf'^(?:"{_CHARACTER}*"|{_NUMBER}|true|false|null)$', lambda token: token)

_WAYS: Mapping[str, tuple[Rule, ...]] = MappingProxyType(
    {
        "action": (Rule('"', r'^(?:submit|pass-qc|not-pass-qc|delete)"$', _text),),
        "study": (_LABEL,),
        "pipeline_adcid": (Rule("", f"^{_ADCID}$", _integer), Rule('"', f'^{_ADCID}"$', _integer)),
        "project_label": (_LABEL,),
        "center_label": (_LABEL,),
        "gear_name": (_LABEL,),
        "ptid": (Rule('"', r'^[A-Z0-9]{1,10}"$', _text),),
        "visit_date": (Rule('"', rf'^{_DATE}"$', _date),),
        "visit_number": (_LABEL,),
        "datatype": (_LABEL,),
        "module": (_OPTIONAL,),
        "packet": (_OPTIONAL,),
        "timestamp": (
            Rule('"', rf'^{_MOMENT}Z"$', _utc),
            Rule('"', rf'^{_MOMENT}{_OFFSET}"$', _offset),
            Rule('"', rf'^{_MOMENT}"$', _naive),
        ),
    }
)


def rule_for(key: str, value: object) -> Rule:
    """The rule for the way this value is written; what fits none is left to the model by whichever is returned.

    A member the model does not know is ignored by it, so it must only be a JSON scalar that ends where it seems to.
    """
    ways = _WAYS.get(key, (_UNKNOWN,))
    if len(ways) > 1:
        written = f'"{value}"' if isinstance(value, str) else f"{value}"
        for rule in ways:
            if written.startswith(rule.opening) and re.match(rule.pattern, written[len(rule.opening) :]):
                return rule
    return ways[0]
