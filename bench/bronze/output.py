"""What a candidate has written, compared with the source value for value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from adbc_driver_postgresql import dbapi

from bench.bronze.job import OUTPUT_PREFIX
from bench.bronze.source import CURSOR, KEY, TABLE, Source
from bench.nyc_311.arena import PROCESSED, Arena

_BOOKKEEPING = "/_dlt"
_COMPARED = {
    "order_id": "{}::BIGINT",
    "customer_id": "{}::BIGINT",
    "amount": "{}::DECIMAL(38, 10)",
    "ordered_at": "epoch_us({})",
    CURSOR: "epoch_us({})",
    "due_on": "{}::DATE",
    "status": "{}::VARCHAR",
    "currency": "{}::VARCHAR",
    "is_gift": "{}::BOOLEAN",
    "note": "{}::VARCHAR",
    "quantity": "{}::BIGINT",
}
"""Columns, and what of their values must be equal, whatever type a candidate gave them."""

Sums = Mapping[str, tuple[int, int]]
"""Of each column (and of whole rows) how many values there are, and a sum of their hashes."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is not as it is in the source."""

    rows: int
    files: int
    wrong: list[str]
    """Columns whose values are not those of the source; ``(rows)`` if they are, but not together."""
    other_types: list[str]
    """Columns that are in the files with another type than the source has."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The versions of rows in the output."""

    required: int
    lost: int
    doubled: int


def sums_of_source(source: Source) -> Sums:
    """The source's own."""
    with dbapi.connect(source.url) as connection, connection.cursor() as cursor, duckdb.connect() as engine:
        columns = ", ".join(f"{name}::text AS {name}" if name == "amount" else name for name in _COMPARED)
        cursor.execute(f"SELECT {columns} FROM {TABLE}")  # noqa: S608 - our own words
        engine.register("found", cursor.fetch_record_batch())
        engine.execute("CREATE TABLE rows AS SELECT * FROM found")
        return _sums(engine, "rows")


def compare(place: Arena, wanted: Sums) -> Comparison:
    """Compare the files with the source."""
    with TemporaryDirectory(prefix="bench-bronze-output-") as folder, duckdb.connect() as engine:
        if not (files := download(place, Path(folder))):
            return Comparison(0, 0, sorted(wanted), [])
        found = _sums(engine, f"read_parquet({files!r}, hive_partitioning = false)")
        described = engine.execute(f"DESCRIBE SELECT * FROM read_parquet({files!r}, hive_partitioning = false)")  # noqa: S608
        types = {name: type_ for name, type_, *_ in described.fetchall()}
    other = {"amount": "DECIMAL(12,2)", "quantity": "INTEGER", "due_on": "DATE", "order_id": "BIGINT"}
    return Comparison(
        rows=found["(rows)"][0],
        files=len(files),
        wrong=[name for name in wanted if found[name] != wanted[name]],
        other_types=[f"{name}: {types[name]}" for name, type_ in other.items() if types[name] != type_],
    )


def tally(place: Arena, versions: set[tuple[int, int]]) -> Tally:
    """Count versions of rows, each a key and its cursor in microseconds."""
    with TemporaryDirectory(prefix="bench-bronze-output-") as folder, duckdb.connect() as engine:
        files = download(place, Path(folder))
        rows = engine.execute(
            f"SELECT {KEY}, epoch_us({CURSOR}), count(*) FROM read_parquet({files!r}, hive_partitioning = false) "  # noqa: S608
            "GROUP BY ALL"
        ).fetchall()
    found = {(key, cursor): count for key, cursor, count in rows}
    return Tally(
        required=len(versions),
        lost=len(versions - found.keys()),
        doubled=sum(count - 1 for count in found.values()),
    )


def download(place: Arena, folder: Path) -> list[str]:
    """The Parquet files of the output, without what a candidate notes down for itself."""
    pages = place.s3.get_paginator("list_objects_v2").paginate(Bucket=PROCESSED, Prefix=OUTPUT_PREFIX)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    files = []
    for number, key in enumerate(key for key in keys if key.endswith(".parquet") and _BOOKKEEPING not in key):
        files.append(str(folder / f"{number}.parquet"))
        place.s3.download_file(PROCESSED, key, files[-1])
    return files


def _sums(engine: duckdb.DuckDBPyConnection, relation: str) -> Sums:
    texts = {name: text.format(name) for name, text in _COMPARED.items()} | {"(rows)": "1"}
    texts["(rows)"] = f"concat_ws('|', {', '.join(f'coalesce(({text})::VARCHAR, chr(0))' for text in texts.values())})"
    parts = ", ".join(f"count({text}), sum(hash({text})::HUGEINT)" for text in texts.values())
    row = engine.execute(f"SELECT {parts} FROM {relation}").fetchone()  # noqa: S608 - our own words
    assert row is not None  # noqa: S101 - an aggregate has one row
    return {name: (row[2 * place], row[2 * place + 1]) for place, name in enumerate(texts)}
