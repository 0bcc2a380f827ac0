"""Slices as SQL. Names are quoted, values are parameters; a type is written only if it looks like one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.sources import SnowflakeSource
from services.runtime.failures import PermanentError

_TYPE = re.compile(r"[A-Z][A-Z_]*(\(\d{1,2}(,\d{1,2})?\))?")
_ZONED = ("TIMESTAMP_TZ", "TIMESTAMP_LTZ")
_DOCUMENTS = ("VARIANT", "ARRAY", "OBJECT", "MAP")
_TEXTS = ("TEXT", "VARCHAR")


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL with a question mark for each of its values."""

    sql: str
    values: tuple[str, ...] = ()

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(f"({self.sql}) AND ({other.sql})", self.values + other.values)


def quoted(identifier: str) -> str:
    """An identifier as SQL reads it, whatever is in it; upper and lower case are told apart.

    Raises:
        PermanentError: it is empty or holds a NUL, which no identifier can.
    """
    if not identifier or "\0" in identifier:
        raise PermanentError(f"{identifier!r} cannot be the name of anything in Snowflake")
    return '"' + identifier.replace('"', '""') + '"'


def table_of(source: SnowflakeSource) -> str:
    """The table's name with its schema, in the database that the secret names."""
    return f"{quoted(source.database_schema)}.{quoted(source.table)}"


def selected(field: EntityField) -> str:
    """A column as it is read: what has no type of its own comes as text."""
    column, base = quoted(field.name), _base(field)
    if field.type != "string" or base in _TEXTS:
        return column
    function = "TO_JSON" if base in _DOCUMENTS else "TO_VARCHAR"
    return f"{function}({column}) AS {column}"


def rows_of(source: SnowflakeSource, fields: Sequence[EntityField], slice_: Slice) -> Condition:
    """Which rows a slice has. Where the cursor is not read, as in a load of keys, rows of any cursor belong to it."""
    by_name = {field.name: field for field in fields}
    found = Condition("TRUE")
    if cursor := by_name.get(source.cursor):
        found = _window(cursor, slice_)
    key = [by_name[name] for name in source.key]
    if slice_.after is not None:
        beyond = _beyond(key, slice_.after, ">", or_equal=False)
        if slice_.upto is None:  # a key that is null is in no range, and must be seen to be complained of
            nulls = " OR ".join(f"{quoted(field.name)} IS NULL" for field in key)
            beyond = Condition(f"{beyond.sql} OR {nulls}", beyond.values)
        found = found & beyond
    if slice_.upto is not None:
        found = found & _beyond(key, slice_.upto, "<", or_equal=True)
    return found


def _window(cursor: EntityField, slice_: Slice) -> Condition:
    column, base = quoted(cursor.name), _base(cursor)
    zone = "+00:00" if base in _ZONED else ""
    bound = f"CAST(? AS {'TIMESTAMP_TZ' if zone else 'TIMESTAMP_NTZ'})"
    sql = f"{column} >= {bound} AND {column} < {bound}"
    if slice_.undated:
        sql = f"({sql}) OR {column} IS NULL"
    return Condition(sql, tuple(text.replace(" ", "T") + zone for text in (slice_.start, slice_.end)))


def _beyond(key: Sequence[EntityField], bound: Sequence[str], sign: str, *, or_equal: bool) -> Condition:
    """Keys that come after or before a key: of columns one by one, because Snowflake compares no rows."""
    if len(bound) != len(key):
        raise PermanentError(f"a slice ends at {len(bound)} values of a key of {len(key)} columns")
    cases: list[str] = []
    values: list[str] = []
    for place in range(len(key)):
        last = sign + "=" if or_equal and place == len(key) - 1 else sign
        signs = ["="] * place + [last]
        parts = [f"{quoted(f.name)} {s} CAST(? AS {_cast(f)})" for f, s in zip(key, signs, strict=False)]
        cases.append(f"({' AND '.join(parts)})")
        values += bound[: place + 1]
    return Condition(" OR ".join(cases), tuple(values))


def _cast(field: EntityField) -> str:
    """The field's type in its source.

    Raises:
        PermanentError: what stands there is not the name of a type.
    """
    if not _TYPE.fullmatch(field.source_type):
        raise PermanentError(f"column {field.name!r}: {field.source_type!r} is no type of Snowflake")
    return field.source_type


def _base(field: EntityField) -> str:
    return field.source_type.partition("(")[0]
