"""Which partition file a row belongs to: the key template of a target, filled from the row and the run's day."""

from collections.abc import Mapping, Sequence
from string import Formatter
from types import MappingProxyType
from typing import Any

import polars as pl

from contracts.segments import Destination
from contracts.targets import RUN_DATE

ABSENT = "__HIVE_DEFAULT_PARTITION__"
"""What stands in a key for a value that a row does not have, as engines that read partitions know it."""
# Directives by the coarsest unit that they can be told from.
_UNITS: Mapping[str, str] = MappingProxyType({"1y": "YyC", "1mo": "mbBh", "1d": "djeGUWVaAuwxDF", "1h": "HIp"})
_KEY = "\0key"


class _Absent:
    """Stands for no value, whatever the format."""

    def __str__(self) -> str:
        return ABSENT

    def __format__(self, _: str) -> str:
        return ABSENT


def partition(template: str, bucket: str, run_date: str, rows: pl.DataFrame) -> list[tuple[Destination, pl.DataFrame]]:
    """Rows by the file they belong to, in order of the keys; the order of rows in a file is kept.

    No rows are one part nevertheless, for its verdicts: its key is the template, which no row could have.
    """
    fields = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name not in {None, RUN_DATE}))
    if rows.is_empty():
        return [(Destination(bucket=bucket, key=template), rows)]
    if not fields:
        return [(Destination(bucket=bucket, key=template.format_map({RUN_DATE: run_date})), rows)]
    told = [_told(name, rows.schema[name], template).alias(f"told {i}") for i, name in enumerate(fields)]
    kinds = rows.select(told)
    distinct = kinds.unique(maintain_order=True)
    keys = [template.format_map(_values(fields, values, run_date)) for values in distinct.iter_rows()]
    if len(set(keys)) == 1:
        return [(Destination(bucket=bucket, key=keys[0]), rows)]
    by_kind = distinct.with_columns(key=pl.Series(keys))
    key = kinds.join(by_kind, on=kinds.columns, how="left", nulls_equal=True, maintain_order="left")["key"]
    parts = rows.with_columns(key.alias(_KEY)).partition_by(_KEY, include_key=False, as_dict=True)
    return [(Destination(bucket=bucket, key=str(each)), parts[each,]) for each in sorted(set(keys))]


def _told(name: str, dtype: pl.DataType, template: str) -> pl.Expr:
    """What a key can tell of a column's values: of a time only the unit that its formats show."""
    if not dtype.is_temporal():
        return pl.col(name)
    formats = [spec or "" for _, field, spec, _ in Formatter().parse(template) if field == name]
    directives = {text[0] for spec in formats for text in spec.replace("%%", "").split("%")[1:] if text}
    if "" in formats or not directives:
        return pl.col(name)
    units = list(_UNITS)
    finest = max(_place(directive) for directive in directives)
    return pl.col(name).dt.truncate(units[finest]) if finest < len(units) else pl.col(name)


def _place(directive: str) -> int:
    return next((place for place, known in enumerate(_UNITS.values()) if directive in known), len(_UNITS))


def _values(fields: Sequence[str], values: Sequence[Any], run_date: str) -> Mapping[str, Any]:
    """Values for a key; a slash inside a text must not open a new folder."""
    found: dict[str, Any] = {RUN_DATE: run_date}
    for name, value in zip(fields, values, strict=True):
        found[name] = value.replace("/", "%2F") if isinstance(value, str) else _Absent() if value is None else value
    return found
