"""Asking Parquet files questions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from services.console.commands.query import ask
from services.runtime.declarations import load_pipeline
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of one output."""
    for name, rows in {"a": [("x", 1), ("y", 2)], "b": [("z", 3)]}.items():
        frame = pl.DataFrame(rows, schema=["name", "size"], orient="row").with_columns(pl.lit(NOON).alias("moment"))
        frame.write_parquet(tmp_path / f"{name}.parquet")
    return sorted(tmp_path.glob("*.parquet"))


def test_the_output_is_a_table_under_two_names(files: list[Path]) -> None:
    """The entity's name and the fixed one; every file belongs to it, and times are UTC."""
    for table in ("things", "checkpoint_events"):
        records = ask(files, "things", f"SELECT * FROM {table} ORDER BY size", {})  # noqa: S608 - our own names
        assert [record["name"] for record in records] == ["x", "y", "z"]
        assert {record["moment"] for record in records} == {NOON}
    assert ask(files, "checkpoint_events", "SELECT count(*) AS n FROM checkpoint_events", {}) == [{"n": 3}]


def test_times_without_a_zone_are_read_as_utc(files: list[Path]) -> None:
    """Whatever the zone of the machine is."""
    sql = "SELECT count(*) AS n FROM things WHERE moment = TIMESTAMPTZ '2026-01-01 12:00:00'"
    assert ask(files, "things", sql, {}) == [{"n": 3}]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["x", "y", "z"]),
        ({"name": "y"}, ["y"]),
        ({"max_2": "2"}, ["x", "y"]),
        ({"name": "y", "max_2": "1"}, []),
    ],
)
def test_parameters_that_are_not_given_are_null(
    files: list[Path], parameters: Mapping[str, str], expected: list[str]
) -> None:
    """So that one query serves any subset of its filters."""
    sql = """
    SELECT name FROM things
    WHERE ($name IS NULL OR name = $name) AND ($max_2 IS NULL OR size <= CAST($max_2 AS INT)) ORDER BY size
    """
    assert [record["name"] for record in ask(files, "things", sql, parameters)] == expected


def test_a_parameter_is_data(files: list[Path]) -> None:
    """Its value is never read as SQL."""
    assert ask(files, "things", "SELECT * FROM things WHERE name = $name", {"name": "x' OR '1'='1"}) == []


def test_a_dollar_in_a_text_is_no_parameter(files: list[Path]) -> None:
    """Only DuckDB knows what is a parameter; a text with a dollar sign is a text."""
    sql = "SELECT '$name' AS a, $$two $words$$ AS b"
    assert ask(files, "things", sql, {}) == [{"a": "$name", "b": "two $words"}]


def test_an_unknown_parameter_is_refused(files: list[Path]) -> None:
    """With the names that there are."""
    with pytest.raises(BadDeclarationError, match=r"no parameter 'size'; it has \['name'\]"):
        ask(files, "things", "SELECT $name AS name", {"size": "1"})


@pytest.mark.parametrize(
    "sql",
    ["SELEC 1", "SELECT nothing FROM things", "SELECT * FROM nowhere", "SELECT CAST(name AS INT) FROM things"],
)
def test_wrong_sql_is_one_line(files: list[Path], sql: str) -> None:
    """Wrong in its grammar, its names or only when it runs."""
    with pytest.raises(BadDeclarationError, match="the query failed: ") as caught:
        ask(files, "things", sql, {})
    assert "\n" not in str(caught.value)


def test_the_last_statement_answers(files: list[Path]) -> None:
    """Statements before it may prepare it."""
    sql = "CREATE TABLE big AS SELECT * FROM things WHERE size > $least; SELECT name FROM big ORDER BY name"
    assert ask(files, "things", sql, {"least": "1"}) == [{"name": "y"}, {"name": "z"}]


def test_folders_add_no_columns(tmp_path: Path) -> None:
    """A file's own ``month`` is not hidden by the folder it lies in, and the folders are no columns."""
    for month in (1, 2):
        folder = tmp_path / "year=2025" / f"month={month:02d}"
        folder.mkdir(parents=True)
        pl.DataFrame({"month": [f"m{month}"], "n": [month]}).write_parquet(folder / "data_2025-02-21.parquet")
    found = ask(sorted(tmp_path.rglob("*.parquet")), "things", "SELECT * FROM things ORDER BY n", {})
    assert found == [{"month": "m1", "n": 1}, {"month": "m2", "n": 2}]


def test_files_of_several_ages_are_one_table(tmp_path: Path) -> None:
    """Columns go by their names; those that an older file lacks are NULL in its rows."""
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "old.parquet")
    pl.DataFrame({"b": ["y"], "c": [2.5], "a": [2]}).write_parquet(tmp_path / "young.parquet")
    files = [tmp_path / "old.parquet", tmp_path / "young.parquet"]
    found = ask(files, "things", "SELECT a, b, c FROM things ORDER BY a", {})
    assert found == [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": "y", "c": 2.5}]


def test_floating_times_stay_as_they_are(tmp_path: Path) -> None:
    """What has no zone is given none: the month of a late evening is the source's own."""
    late = datetime(2025, 2, 28, 23, 59, 59, 999_000)  # noqa: DTZ001 - floating
    pl.DataFrame({"moment": [late]}).write_parquet(tmp_path / "a.parquet")
    sql = "SELECT moment, strftime(moment, '%Y-%m') AS month FROM things"
    assert ask([tmp_path / "a.parquet"], "things", sql, {}) == [{"moment": late, "month": "2025-02"}]


def test_every_shipped_query_asks_for_columns_that_exist(tmp_path: Path) -> None:
    """Each runs over an empty checkpoint without an error."""
    pipeline = load_pipeline(PROJECT / "pipelines" / "visit_events.toml")
    text = ["action", "study", "project_label", "center_label", "gear_name", "ptid", "visit_number", "datatype"]
    schema = dict.fromkeys([*text, "module", "packet"], pl.String()) | {
        "pipeline_adcid": pl.Int32(),
        "visit_date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
    file = tmp_path / "empty.parquet"
    pl.DataFrame(schema=schema).write_parquet(file)
    for query in pipeline.queries.values():
        assert ask([file], pipeline.entity, query.sql.replace("{table}", pipeline.entity), {}) == []


def test_every_query_over_service_requests_answers(tmp_path: Path) -> None:
    """Each counts the three requests in two files; a key that is in both is what ``duplicates`` finds."""
    pipeline = load_pipeline(PROJECT / "pipelines" / "nyc_311.toml")

    def write(name: str, rows: list[tuple[str, int]]) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        columns: dict[str, list[Any]] = {column: [None] * len(rows) for column in pipeline.output_columns}
        columns |= {
            "unique_key": [key for key, _ in rows],
            "created_date": [datetime(2025, month, 3, 23, 30) for _, month in rows],  # noqa: DTZ001 - floating
            "status": ["Open"] * len(rows),
        }
        pl.DataFrame(columns).write_parquet(tmp_path / name)

    write("year=2025/month=01/data_2025-02-21.parquet", [("1", 1), ("2", 1)])
    write("year=2025/month=02/data_2025-02-21.parquet", [("3", 2)])

    def answer(name: str) -> list[dict[str, Any]]:
        sql = pipeline.queries[name].sql.replace("{table}", pipeline.entity)
        return ask(sorted(tmp_path.rglob("*.parquet")), pipeline.entity, sql, {})

    assert answer("duplicates") == []
    assert answer("by_month") == [{"month": "2025-01", "requests": 2}, {"month": "2025-02", "requests": 1}]
    for name in pipeline.queries.keys() - {"duplicates"}:
        assert sum(record["requests"] for record in answer(name)) == 3, name
    write("year=2025/month=02/data_2025-02-22.parquet", [("2", 2)])
    assert answer("duplicates") == [{"unique_key": "2", "count": 2}]
