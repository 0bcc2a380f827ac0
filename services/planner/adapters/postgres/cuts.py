"""Cutting a window of a table into slices of nearly equal rows, by its key, in the server's own order.

Few rows are counted and numbered exactly. Of a whole large table a sample of its blocks says where the cuts fall; that
makes slices uneven by some ten per cent, never incomplete: slices border on one another, wherever their borders are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.sources import PostgresSource
from services.planner.adapters.postgres.columns import Table
from services.planner.core.loads import parts_of
from services.planner.ports import Cut
from services.runtime.failures import PermanentError
from services.runtime.postgres.connection import Connection
from services.runtime.postgres.names import qualified, quoted

LARGE = 500_000
"""Rows from which a whole table is sampled."""
SAMPLE_ROWS = 200_000
WIDTH_ROWS = 1_000
"""Rows that say how wide a row is."""
ASSUMED_ROW_BYTES = 100
"""Of a table that was never analysed, to tell from its size how many rows it may have."""
_ESTIMATE = f"""
SELECT coalesce(sum(CASE WHEN c.reltuples >= 0 THEN c.reltuples
                         ELSE pg_relation_size(c.oid) / {ASSUMED_ROW_BYTES} END), 0)::bigint
FROM pg_class c
WHERE c.relkind IN ('r', 'm') AND (c.oid = $1 OR c.oid IN (SELECT relid::oid FROM pg_partition_tree($1)))
"""  # noqa: S608 - a number of our own
_SQL_TYPES = {"timestamp_us": "timestamp", "timestamp_us_utc": "timestamptz"}
_LONG = re.compile(r"text|bytea|character( varying)?(\(\d+\))?")


@dataclass(frozen=True, slots=True)
class _Sql:
    """The parts of queries on one window; $1 and $2 are its ends."""

    table: str
    key: list[str]
    inside: str
    outside: str
    """Rows that no window can have: older than any load reads, or infinitely far away."""
    keyed: str
    """Rows inside with a whole key. The others are in no range of keys: whoever reads the first slice reads them."""
    values: tuple[str, str]

    @property
    def order(self) -> str:
        """By the operator that comparing keys with borders finds, too: a type's default order may be another one."""
        return ", ".join(f"{name} USING <" for name in self.key)

    @property
    def named_key(self) -> str:
        return ", ".join(f"{name} AS key_{n}" for n, name in enumerate(self.key))

    @property
    def key_texts(self) -> str:
        return ", ".join(f"key_{n}::text" for n in range(len(self.key)))


class Cutter:
    """Cuts one window of one table, as one transaction sees it."""

    def __init__(
        self, connection: Connection, source: PostgresSource, table: Table, *, sampled_from: int = LARGE
    ) -> None:
        self._connection = connection
        self._source = source
        self._table = table
        self._sampled_from = sampled_from

    async def cut(self, start: str, end: str, fields: Sequence[EntityField], *, whole: bool) -> list[Cut]:
        """See ``Entity``; ``fields`` are what is read.

        Raises:
            PermanentError: rows have a cursor that no load would ever read.
        """
        sql = self._sql(start, end, whole=whole)
        window = Slice(start=start, end=end, undated=whole)
        if whole and self._table.can_be_sampled:
            estimate: int = await self._connection.fetchval(_ESTIMATE, self._table.oid)
            sampled = await self._sampled(sql, fields, estimate) if estimate > self._sampled_from else None
            if sampled is not None:
                return _cuts(window, sampled, -(-estimate // (len(sampled) + 1)), estimate)
        rows = await self._count(sql, whole=whole)
        if not rows:
            return []
        each = -(-rows // min(rows, await self._parts(sql, fields, rows)))
        return _cuts(window, await self._numbered(sql, each, rows), each, rows)

    async def has_rows_without_cursor(self) -> bool:
        """Whether there are rows that only full loads read; an index on the cursor answers at once."""
        if not self._table.has_optional_cursor:
            return False
        table, cursor = qualified(self._source.database_schema, self._source.table), quoted(self._source.cursor)
        query = f"SELECT EXISTS (SELECT FROM {table} WHERE {cursor} IS NULL)"  # noqa: S608 - names are quoted
        return bool(await self._connection.fetchval(query))

    def _sql(self, start: str, end: str, *, whole: bool) -> _Sql:
        cursor, type_ = quoted(self._source.cursor), _SQL_TYPES[self._table.cursor_type]
        inside = f"{cursor} >= $1::text::{type_} AND {cursor} < $2::text::{type_}"
        window = f"({inside} OR {cursor} IS NULL)" if whole else f"({inside})"
        return _Sql(
            table=qualified(self._source.database_schema, self._source.table),
            key=[quoted(name) for name in self._source.key],
            inside=window,
            outside=f"({cursor} < $1::text::{type_} OR NOT isfinite({cursor}))",
            keyed=" AND ".join([window, *(f"{quoted(name)} IS NOT NULL" for name in self._table.optional_key)]),
            values=(start, end),
        )

    async def _count(self, sql: _Sql, *, whole: bool) -> int:
        # Of a whole table all is counted, so that nothing is left out that no load would ever read.
        counted = (
            f"count(*) FILTER (WHERE {sql.inside}), count(*) FILTER (WHERE {sql.outside})" if whole else "count(*), 0"
        )
        where = "" if whole else f"WHERE {sql.inside}"
        query = f"SELECT {counted} FROM {sql.table} {where}"  # noqa: S608 - names are quoted
        rows, outside = (await self._connection.fetchrow(query, *sql.values)) or (0, 0)
        self._refuse(outside)
        return int(rows)

    async def _parts(self, sql: _Sql, fields: Sequence[EntityField], rows: int, sample: str = "") -> int:
        width = " + ".join(f"coalesce({_width(field)}, 0) + 4" for field in fields)
        some = f"SELECT {width} AS width FROM {sql.table} {sample} WHERE {sql.inside} LIMIT {WIDTH_ROWS}"  # noqa: S608
        found = await self._connection.fetchval(f"SELECT avg(width)::float8 FROM ({some}) widths", *sql.values)  # noqa: S608
        return parts_of(
            rows,
            segment_rows=self._source.segment_rows,
            segment_bytes=self._source.segment_bytes,
            row_bytes=found or 1.0,
        )

    async def _numbered(self, sql: _Sql, each: int, rows: int) -> list[list[str]]:
        """The key of every so manieth row, but not of the last one."""
        if each >= rows:
            return []
        number = f"row_number() OVER (ORDER BY {sql.order}) AS place"
        numbered = f"SELECT {sql.named_key}, {number} FROM {sql.table} WHERE {sql.keyed}"  # noqa: S608 - quoted
        query = f"SELECT {sql.key_texts} FROM ({numbered}) numbered WHERE place % $3 = 0 AND place < $4 ORDER BY place"  # noqa: S608
        return _distinct([list(key) for key in await self._connection.fetch(query, *sql.values, each, rows)])

    async def _sampled(self, sql: _Sql, fields: Sequence[EntityField], estimate: int) -> list[list[str]] | None:
        """Keys that cut the table evenly, as far as a sample tells; None if it is too small to tell."""
        query = f"SELECT EXISTS (SELECT FROM {sql.table} WHERE {sql.outside})"  # noqa: S608 - names are quoted
        self._refuse(int(await self._connection.fetchval(query, sql.values[0])))
        share = f"TABLESAMPLE SYSTEM ({min(100.0, 100 * SAMPLE_ROWS / estimate):.6f})"
        parts = await self._parts(sql, fields, estimate, share)
        places = f"row_number() OVER (ORDER BY {sql.order}) AS place, count(*) OVER () AS rows"
        numbered = f"SELECT {sql.named_key}, {places} FROM {sql.table} {share} WHERE {sql.keyed}"  # noqa: S608 - quoted
        borders = "place < rows AND place * $3 / rows > (place - 1) * $3 / rows"
        query = f"SELECT {sql.key_texts} FROM ({numbered}) numbered WHERE {borders} ORDER BY place"  # noqa: S608
        found = await self._connection.fetch(query, *sql.values, parts)
        return _distinct([list(key) for key in found]) if len(found) == parts - 1 else None

    def _refuse(self, outside: int) -> None:
        """Rows that no load would ever read must not be left out silently."""
        if outside:
            where, cursor = f"{self._source.database_schema}.{self._source.table}", self._source.cursor
            raise PermanentError(
                f"{where}: rows whose {cursor!r} is before 1970 or infinite ({outside} or more) would never be read"
            )


def _width(field: EntityField) -> str:
    """Bytes of a value. Long texts may be stored elsewhere and compressed: their true length is known all the same."""
    measure = "octet_length" if _LONG.fullmatch(field.source_type) else "pg_column_size"
    return f"{measure}({quoted(field.name)})"


def _distinct(keys: list[list[str]]) -> list[list[str]]:
    """Keys in their order, each once: a key that several rows share must not make a slice of nothing."""
    return [key for key, before in zip(keys, [None, *keys], strict=False) if key != before]


def _cuts(window: Slice, borders: Sequence[list[str]], each: int, rows: int) -> list[Cut]:
    """The slices between borders; of ``rows`` rows, the last one has what the others leave."""
    ends: list[list[str] | None] = [None, *borders, None]
    left = max(rows - each * len(borders), 0)
    return [
        Cut(window.model_copy(update={"after": after, "upto": upto}), each if upto is not None else left)
        for after, upto in pairwise(ends)
    ]
