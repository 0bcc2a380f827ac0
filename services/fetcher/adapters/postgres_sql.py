"""The query of a slice. Names are quoted, values travel beside it: nothing of a command becomes part of the text.

COPY takes no parameters, so the values are settings of the transaction (``set_config``), which the query reads back
(``current_setting``) and casts to the type that the server itself names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.fields import EntityField, TypeParts
from contracts.loads import FetchSlice
from contracts.runs import LoadType
from contracts.sources import PostgresSource
from services.runtime.failures import PermanentError
from services.runtime.postgres.names import qualified, quoted

COLUMNS = """
WITH RECURSIVE found AS (
    SELECT attname::text AS name, atttypid AS type, atttypid AS base, attnotnull AS not_null
    FROM pg_catalog.pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT found.name, found.type, pg_type.typbasetype, found.not_null
    FROM found JOIN pg_catalog.pg_type ON pg_type.oid = found.base
    WHERE pg_type.typtype = 'd'
)
SELECT found.name, format_type(found.type, -1), format_type(found.base, -1), found.not_null
FROM found JOIN pg_catalog.pg_type ON pg_type.oid = found.base
WHERE pg_type.typtype <> 'd'
"""
"""Columns of a table: name, type, the type below its domains, and whether it has no nulls.

``-1`` and not NULL: a bpchar without its length is no "character", which as the target of a cast would be one long.
"""

_SQL = {
    "string": "text",
    "binary": "bytea",
    "boolean": "boolean",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "float32": "real",
    "float64": "double precision",
    "date": "date",
    "time_us": "time without time zone",
    "timestamp_us": "timestamp without time zone",
    "timestamp_us_utc": "timestamp with time zone",
    "decimal": "numeric",
}
_TEXTS = frozenset({"text", "character varying", "bpchar", "name"})
"""Types whose binary form is their text; a cast of bpchar would cut its blanks off."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the server describes it, its types as SQL."""

    name: str
    type: str
    base: str
    """The type below its domains."""
    not_null: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the settings that it reads."""

    text: str
    settings: Mapping[str, str]


def query_of(
    source: PostgresSource, command: FetchSlice, fields: Sequence[EntityField], columns: Mapping[str, Column]
) -> Query:
    """The query of a slice's rows: the fields in their order, then a flag for each array.

    Raises:
        PermanentError: the table does not have a column that is read, or the slice is not cut by the source's key.
    """
    where = f"{source.database_schema}.{source.table}"
    needed = [*(field.name for field in fields), *source.key]
    if missing := sorted({name for name in needed if name not in columns}):
        raise PermanentError(f"{where} has no column {', '.join(missing)} any more: plan the load anew")
    selected = [_selected(field, columns[field.name]) for field in fields]
    selected += [
        f"coalesce(array_ndims({quoted(field.name)}) > 1, false)"
        for field in fields
        if TypeParts.of(field.type).item is not None
    ]
    conditions, settings = _key_conditions(source, command, columns, where)
    if command.load_type is not LoadType.KEYS:
        if source.cursor not in columns:
            raise PermanentError(f"{where} has no column {source.cursor} any more: plan the load anew")
        condition, bounds = _window(command, columns[source.cursor])
        conditions.append(condition)
        settings |= bounds
    filters = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    table = qualified(source.database_schema, source.table)
    return Query(f"SELECT {', '.join(selected)} FROM {table}{filters}", settings)  # noqa: S608 - names are quoted


def _selected(field: EntityField, column: Column) -> str:
    name, parts = quoted(field.name), TypeParts.of(field.type)
    if parts.item is None:
        return name if _is_native(parts.name, column.base) else f"{name}::{_SQL[parts.name]}"
    item = TypeParts.of(parts.item).name
    array = name if _is_native(item, column.base.removesuffix("[]")) else f"{name}::{_SQL[item]}[]"
    return f"({array})[:]"  # the driver reads arrays whose subscripts start at 0 or 1 only; a slice starts at 1


def _is_native(type_: str, base: str) -> bool:
    return base in _TEXTS if type_ == "string" else base == _SQL[type_]


def _window(command: FetchSlice, cursor: Column) -> tuple[str, dict[str, str]]:
    """Rows from ``start`` to before ``end``; cursors are UTC."""
    zoned = cursor.base == _SQL["timestamp_us_utc"]
    type_, zone = (_SQL["timestamp_us_utc"], "Z") if zoned else (_SQL["timestamp_us"], "")
    name = quoted(cursor.name)
    window = f"({name} >= {_value('start', type_)} AND {name} < {_value('end', type_)})"
    if command.slice.undated:
        window += " IS NOT FALSE"
    elif command.load_type is LoadType.FULL:
        # Nearly every row is in the window of a full load. No index serves a test, so that slices are found by key.
        window += " IS TRUE"
    return window, {"start": command.slice.start + zone, "end": command.slice.end + zone}


def _key_conditions(
    source: PostgresSource, command: FetchSlice, columns: Mapping[str, Column], where: str
) -> tuple[list[str], dict[str, str]]:
    """Rows after one key and up to another, in the server's own order."""
    after, upto = command.slice.after, command.slice.upto
    conditions: list[str] = []
    settings: dict[str, str] = {}
    names = ", ".join(quoted(name) for name in source.key)
    for side, operator, values in (("after", ">", after), ("upto", "<=", upto)):
        if values is None:
            continue
        if len(values) != len(source.key):
            raise PermanentError(f"{where}: a slice is cut by {len(values)} values, and the key has {len(source.key)}")
        bounds = [_value(f"{side}_{n}", columns[name].type) for n, name in enumerate(source.key)]
        conditions.append(f"({names}) {operator} ({', '.join(bounds)})")
        settings |= {f"{side}_{n}": value for n, value in enumerate(values)}
    if after is None and upto is not None:
        # A row whose key has a null is in no range. It must be read all the same, so that it is seen to be wrong.
        empty = [f"{quoted(name)} IS NULL" for name in source.key if not columns[name].not_null]
        conditions[0] = " OR ".join([conditions[0], *empty])
        conditions[0] = f"({conditions[0]})"
    return conditions, settings


def _value(name: str, type_: str) -> str:
    """A setting as a value. In a query of its own it is read once; as a mere function it would be for every row."""
    return f"(SELECT current_setting('tidegate.{name}')::{type_})"
