"""Datasets in memory: typed columns in DuckDB to search in, the rows' own text beside them to answer with."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import duckdb
from soda_answers import Answer, answer
from soda_errors import bad_request
from soda_rows import Row, type_of
from soql_expressions import SEQUENCE, Fragment, quoted
from soql_statements import LITERAL, compile_query
from soql_tree import Query

BATCH = 20_000
"""Rows that DuckDB takes in at a time."""

_TABLE = "rows"
_PUBLISHED, _SUPERSEDED = '"$published"', '"$superseded"'
_LINES = f"SELECT line FROM batch ORDER BY {SEQUENCE}"  # noqa: S608 - a constant
_ALWAYS, _NEVER = "-infinity", "infinity"
_SQL_TYPES: Mapping[str, str] = {"number": "DOUBLE", "floating_timestamp": "TIMESTAMP"}


@dataclass(frozen=True, slots=True)
class Published:
    """What became of rows that were handed in."""

    added: int
    replaced: int


class Dataset:
    """One dataset. Readers and one writer may work at the same time, each reader on the rows of one moment.

    A row that is given again with the same ``key`` takes the place of the old one when it is published. A value that is
    not of its column's type stays in the row and is missing to queries.
    """

    def __init__(self, name: str, columns: Mapping[str, str], key: str | None) -> None:
        self.name = name
        self.key = key
        self._lines: list[str] = []
        self._writing = threading.Lock()
        # One thread a query: requests side by side do not take one another's processors.
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute(
            f"CREATE TABLE {_TABLE} ({SEQUENCE} BIGINT, {_PUBLISHED} TIMESTAMP, {_SUPERSEDED} TIMESTAMP)"
        )
        self.columns = self._with_columns({}, {**columns, **({key: columns.get(key, "text")} if key else {})})

    def __len__(self) -> int:
        """Versions of rows, replaced and unpublished ones included."""
        return len(self._lines)

    def summary(self) -> dict[str, Any]:
        """What control answers say of it; ``rows`` as ``len``."""
        return {"id": self.name, "rows": len(self), "key": self.key, "columns": self.columns}

    def publish(self, rows: Sequence[Row]) -> Published:
        """Take in rows, all of them or none.

        Raises:
            SodaError: 400, a row is not a JSON object.
        """
        for number, row in enumerate(rows):
            if not row.line.startswith("{"):
                raise bad_request(f"rows: row {number} is not a JSON object")
        with self._writing:
            first = len(self._lines)
            self._lines += [row.line for row in rows]
            self._connection.begin()
            try:
                columns = self._insert(rows, first)
                replaced = self._supersede(first)
                self._connection.commit()
            except BaseException as error:
                self._connection.rollback()
                del self._lines[first:]
                if isinstance(error, duckdb.InvalidInputException):
                    raise bad_request(f"rows: {str(error).splitlines()[0]}") from error
                raise
            self.columns = columns
        return Published(len(rows), replaced)

    def query(self, query: Query, now: datetime | None) -> Answer:
        """Answer a query with the rows that are published at ``now`` (None: whenever).

        Raises:
            SodaError: 400, the query does not fit the dataset.
        """
        statement = compile_query(query, self.columns, _TABLE, _visible(now))
        cursor = self._connection.cursor()
        try:
            found = cursor.execute(statement.sql, statement.parameters).fetchall()
        finally:
            cursor.close()
        return answer(statement, found, self._lines)

    def _insert(self, rows: Sequence[Row], first: int) -> dict[str, str]:
        """Fill the table with rows numbered from ``first``; all columns there are then."""
        columns = dict(self.columns)
        numbered = enumerate(rows, first)
        while batch := list(islice(numbered, BATCH)):
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE batch AS SELECT unnest(?::BIGINT[]) AS {SEQUENCE},"
                f" unnest(?::VARCHAR[]) AS line, unnest(?::TIMESTAMP[]) AS published",
                [[n for n, _ in batch], [row.line for _, row in batch], [row.published for _, row in batch]],
            )
            columns = self._with_columns(columns, self._unknown_columns(columns))
            shape = {name: _json_type(type_) for name, type_ in columns.items()}
            parts = [part for name, type_ in columns.items() for part in _typed(name, type_)]
            self._connection.execute(
                f"INSERT INTO {_TABLE} BY NAME"  # noqa: S608 - identifiers are quoted
                f" SELECT {SEQUENCE}, coalesce(published, '{_ALWAYS}') AS {_PUBLISHED},"
                f" TIMESTAMP '{_NEVER}' AS {_SUPERSEDED}, {', '.join(parts)}"
                f" FROM (SELECT {SEQUENCE}, published, json_transform(line, ?) AS v FROM batch)",
                [json.dumps(shape)],
            )
        return columns

    def _unknown_columns(self, known: Mapping[str, str]) -> dict[str, str]:
        """The columns of the batch that are not known, with types that their first values show."""
        found = self._connection.execute("SELECT DISTINCT unnest(json_keys(line)) FROM batch").fetchall()
        unknown = sorted({name for (name,) in found} - set(known))
        if not unknown:
            return {}
        types: dict[str, str] = {}
        for (line,) in self._connection.execute(_LINES).fetchall():
            document = json.loads(line)
            types |= {n: type_of(document[n]) for n in unknown if n in document and n not in types}
        return types

    def _with_columns(self, known: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
        for name, type_ in added.items():
            if not name or name != name.lower() or "$" in name:
                raise bad_request(f"columns: {name!r} cannot be the name of a column")
            sql_type = _SQL_TYPES.get(type_)
            declared = [(name, sql_type or "VARCHAR"), *([(name + LITERAL, "VARCHAR")] if sql_type else [])]
            for column, column_type in declared:
                self._connection.execute(f"ALTER TABLE {_TABLE} ADD COLUMN {quoted(column)} {column_type}")
        return {**known, **added}

    def _supersede(self, first: int) -> int:
        """Let versions of a row end where a later one begins, because of rows from ``first`` on; how many end."""
        if self.key is None:
            return 0
        key = quoted(self.key)
        done = self._connection.execute(
            f"UPDATE {_TABLE} SET {_SUPERSEDED} = later.begins FROM ("  # noqa: S608 - identifiers are quoted
            f" SELECT {SEQUENCE}, min({_PUBLISHED}) OVER (PARTITION BY {key} ORDER BY {SEQUENCE}"
            f" ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS begins"
            f" FROM {_TABLE} WHERE {key} IN (SELECT {key} FROM {_TABLE} WHERE {SEQUENCE} >= ?)"
            f") AS later WHERE {_TABLE}.{SEQUENCE} = later.{SEQUENCE} AND later.begins < {_SUPERSEDED}",
            [first],
        ).fetchone()
        return int(done[0]) if done else 0


def _visible(now: datetime | None) -> Fragment:
    if now is None:
        return Fragment(f"{_SUPERSEDED} = '{_NEVER}'", (), "boolean")
    return Fragment(f"({_PUBLISHED} <= ? AND {_SUPERSEDED} > ?)", (now, now), "boolean")


def _json_type(type_: str) -> str:
    return "JSON" if type_ in {"point", "location"} else "VARCHAR"


def _typed(name: str, type_: str) -> list[str]:
    """The table's columns of a column, from the struct ``v`` of a row's text values."""
    value, column = f"v.{quoted(name)}", quoted(name)
    sql_type = _SQL_TYPES.get(type_)
    if sql_type is None:
        return [f"{value}::VARCHAR AS {column}"]
    cast = f"TRY_CAST({value} AS {sql_type})"
    # 'nan' and 'infinity' are numbers and timestamps to DuckDB, but not to a SODA service.
    return [f"CASE WHEN isfinite({cast}) THEN {cast} END AS {column}", f"{value} AS {quoted(name + LITERAL)}"]


class Store:
    """All datasets by their identifiers."""

    def __init__(self) -> None:
        self._datasets: dict[str, Dataset] = {}

    def get(self, name: str) -> Dataset | None:
        """A dataset, if there is one of this name."""
        return self._datasets.get(name)

    def put(self, dataset: Dataset) -> None:
        """Add a dataset or let it take the place of the one with its name; requests under way keep theirs."""
        self._datasets[dataset.name] = dataset

    def remove(self, name: str) -> bool:
        """Remove a dataset; False if there is none."""
        return self._datasets.pop(name, None) is not None
