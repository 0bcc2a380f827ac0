"""A table's columns out of the server's catalogue, and what type each is to everybody else."""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.fields import EntityField
from contracts.sources import PostgresSource
from services.runtime.failures import PermanentError
from services.runtime.postgres.connection import Connection

_RELATION = """
SELECT c.oid, c.relkind::text AS kind, c.relhassubclass AS has_heirs, has_schema_privilege(n.oid, 'USAGE') AS is_open
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname::text = $1 AND c.relname::text = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
WITH RECURSIVE resolved AS (
    SELECT a.attnum AS place, a.atttypid AS type, a.atttypmod AS modifier, a.attndims::int AS dimensions, 0 AS lists
    FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT r.place,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE WHEN r.modifier = -1 AND t.typtype = 'd' THEN t.typtypmod ELSE r.modifier END,
           greatest(r.dimensions, t.typndims),
           r.lists + CASE t.typtype WHEN 'd' THEN 0 ELSE 1 END
    FROM resolved r JOIN pg_type t ON t.oid = r.type LEFT JOIN pg_type e ON e.oid = t.typelem
    WHERE t.typtype = 'd' OR e.typarray = t.oid
)
SELECT a.attname::text AS name, a.attnotnull AS is_required, format_type(a.atttypid, a.atttypmod) AS source_type,
       CASE WHEN n.nspname = 'pg_catalog' THEN t.typname::text END AS base, r.modifier, r.dimensions, r.lists,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS is_readable
FROM resolved r
JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = r.place
JOIN pg_type t ON t.oid = r.type JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON e.oid = t.typelem
WHERE t.typtype <> 'd' AND e.typarray IS DISTINCT FROM t.oid
ORDER BY a.attnum
"""
"""A type is resolved until it is neither a domain nor an array; what is left has the modifier of the outermost of them
that has one."""

_TYPES = {
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "oid": "int64",
    "float4": "float32",
    "float8": "float64",
    "bool": "boolean",
    "date": "date",
    "time": "time_us",
    "timestamp": "timestamp_us",
    "timestamptz": "timestamp_us_utc",
    "bytea": "binary",
}
_TEXT = "string"
_LOOSE_NUMERIC = "decimal(38,18)"
_DIGITS = 38
_CURSORS = ("timestamp_us", "timestamp_us_utc")
_DATES = ("date", *_CURSORS)
_SAMPLED_KINDS = ("r", "p", "m")


@dataclass(frozen=True, slots=True)
class Table:
    """A table (or view) that exists and may be read."""

    oid: int
    fields: list[EntityField]
    cursor_type: str
    """``timestamp_us`` or ``timestamp_us_utc``, whatever the declaration makes of it."""
    optional_key: tuple[str, ...]
    """Columns of the key that may be null as far as the server knows."""
    has_optional_cursor: bool
    """Whether rows may be without a cursor as far as the server knows: increments do not see those."""
    can_be_sampled: bool


async def find_table(connection: Connection, source: PostgresSource, database: str) -> Table:
    """Look a declared table up.

    Raises:
        PermanentError: it is not there or may not be read, or a declared column is missing or of no fitting type.
    """
    where = f"{source.database_schema}.{source.table}"
    relation = await connection.fetchrow(_RELATION, source.database_schema, source.table)
    if relation is None:
        raise PermanentError(f"there is no table {where} in database {database}")
    columns = await connection.fetch(_COLUMNS, relation["oid"])
    hidden = [column["name"] for column in columns if not column["is_readable"]]
    if hidden or not relation["is_open"]:
        what = f"columns {hidden} of {where}" if 0 < len(hidden) < len(columns) else where
        grants = f"GRANT USAGE ON SCHEMA {source.database_schema} and GRANT SELECT ON {where}"
        raise PermanentError(f"{what} in database {database} may not be read; {grants} would allow it")
    found = {
        column["name"]: type_of(column["base"], column["modifier"], column["dimensions"], column["lists"])
        for column in columns
    }
    _check(source, found, where)
    fields = [
        EntityField(
            name=column["name"],
            type=source.types.get(column["name"], found[column["name"]]),
            source_type=column["source_type"],
        )
        for column in columns
    ]
    return Table(
        oid=relation["oid"],
        fields=fields,
        cursor_type=found[source.cursor],
        optional_key=tuple(c["name"] for c in columns if c["name"] in source.key and not c["is_required"]),
        has_optional_cursor=not all(c["is_required"] for c in columns if c["name"] == source.cursor),
        can_be_sampled=relation["kind"] in _SAMPLED_KINDS and (relation["kind"] == "p" or not relation["has_heirs"]),
    )


def type_of(base: str | None, modifier: int, dimensions: int, lists: int) -> str:
    """What a column's type is to everybody else; ``base`` is None for types that the server was not born with.

    Arrays of more than one dimension, and whatever has no type of its own elsewhere, are the server's text.
    """
    single = _numeric(modifier) if base == "numeric" else _TYPES.get(base or "", _TEXT)
    if not lists:
        return single
    return f"list<{single}>" if lists == 1 and dimensions <= 1 else _TEXT


def _numeric(modifier: int) -> str:
    """Precision and scale as the server packs them; a scale may be negative, or larger than the precision."""
    if modifier == -1:
        return _LOOSE_NUMERIC
    packed = modifier - 4
    precision, scale = (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400
    return f"decimal({precision},{scale})" if precision <= _DIGITS and 0 <= scale <= precision else _LOOSE_NUMERIC


def _check(source: PostgresSource, found: dict[str, str], where: str) -> None:
    named = [("key", name) for name in source.key] + [("cursor", source.cursor)]
    named += [
        (role, name)
        for role, name in (("event_date", source.event_date), ("soft_delete", source.soft_delete))
        if name is not None
    ]
    for role, name in named:
        if name not in found:
            raise PermanentError(f"{role}: {where} has no column {name!r}; it has {sorted(found)}")
    _require(found[source.cursor], _CURSORS, f"cursor: column {source.cursor!r} of {where}", "a timestamp")
    if source.event_date is not None:
        date = f"event_date: column {source.event_date!r} of {where}"
        _require(found[source.event_date], _DATES, date, "a date or a timestamp")


def _require(type_: str, fitting: Sequence[str], what: str, wanted: str) -> None:
    if type_ not in fitting:
        raise PermanentError(f"{what} is not {wanted} but {type_}")
