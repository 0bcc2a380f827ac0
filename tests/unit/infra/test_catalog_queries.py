"""The queries that every table of the catalogue gets: their SQL on files that lie as the stack writes them."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from services.console.catalog import written_table
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT

QUERIES = PROJECT / "infra/terraform/modules/catalog/queries"
NYC = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": "http://localhost"})["nyc_311"]
FACTS: dict[str, str] = {
    name.removeprefix("tidegate."): value
    for name, value in written_table("lake", NYC, "processed", {})["Parameters"].items()
}

FILES = {
    "processed/year=2026/month=01/data_2026-02-01.parquet": {"1": "2026-01-03T23:00:00", "2": "2026-01-31T00:00:00"},
    "processed/year=2026/month=01/data_2026-02-02.parquet": {"2": "2026-01-31T00:00:00"},
    "processed/year=2026/month=02/data_2026-02-02.parquet": {"3": "2026-02-01T00:00:00"},
}
"""One row is there twice, which is what the queries are to find."""


@pytest.fixture
def lake(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    """The files as a table; the path of a row's file is where Athena has it."""
    for key, rows in FILES.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        created = [datetime.fromisoformat(text) for text in rows.values()]
        pl.DataFrame({"unique_key": list(rows), "created_date": created}).write_parquet(path)
    connection = duckdb.connect()
    files = connection.read_parquet(f"{tmp_path}/**/*.parquet", filename=True)
    files.project('* EXCLUDE (filename), filename AS "$path"').create_view("service_requests")
    return connection


def answer(lake: duckdb.DuckDBPyConnection, file: str, **values: str) -> list[tuple[Any, ...]]:
    """What a query answers, filled in as ``templatefile`` does it."""
    template = (QUERIES / file).read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+)\}", template)) == {"table", *values}
    named = {"table": "service_requests", **values}
    return lake.sql(re.sub(r"\$\{(\w+)\}", lambda found: named[found[1]], template)).fetchall()


def test_rows_by_file_show_partition_run_and_extent(lake: duckdb.DuckDBPyConnection) -> None:
    """Newest partition and run first."""
    rows = answer(lake, "rows_by_file.sql", order_by=FACTS["order_by"])
    assert [(path.partition("/processed/")[2], count) for path, count, _, _ in rows] == [
        ("year=2026/month=02/data_2026-02-02.parquet", 1),
        ("year=2026/month=01/data_2026-02-02.parquet", 1),
        ("year=2026/month=01/data_2026-02-01.parquet", 2),
    ]
    assert [moment.isoformat() for moment in rows[-1][2:]] == ["2026-01-03T23:00:00", "2026-01-31T00:00:00"]


def test_doubled_rows_are_found_by_their_key(lake: duckdb.DuckDBPyConnection) -> None:
    """A key that two files hold; where there is no key, rows that are alike in every column."""
    assert answer(lake, "doubled_rows.sql", columns=f'"{FACTS["unique_key"]}"') == [("2", 2)]
    [(key, _, count)] = answer(lake, "doubled_rows.sql", columns='"unique_key", "created_date"')
    assert (key, count) == ("2", 2)


def test_a_delay_is_that_between_cursor_and_run(lake: duckdb.DuckDBPyConnection) -> None:
    """In days; the run's day is read from the file's name."""
    rows = answer(lake, "rows_by_delay.sql", cursor=FACTS["cursor"], run_date=FACTS["run_date"])
    assert rows == [(29, 1), (2, 1), (1, 2)]
