"""Asking entities in bronze questions."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from contracts.fields import EntityField
from contracts.loads import LoadManifest
from contracts.runs import LoadType
from services.console.bronze_files import EntityFiles, Published, current
from services.console.commands.query import as_json_values, ask_entities, duckdb_type, mentioned
from services.runtime.declarations import load_pipelines
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT

PIPELINES = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": "http://127.0.0.1:1"})
FIELDS = [EntityField(name="order_id", type="int64"), EntityField(name="tags", type="list<string>")]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def load(version: int, generation: int, type_: LoadType, fields: Sequence[EntityField] = FIELDS) -> Published:
    """A complete load."""
    manifest = LoadManifest(
        pipeline="ecommerce.orders",
        version=version,
        generation=generation,
        run_id=f"r{version}",
        load_type=type_,
        run_date="2026-01-02",
        ingestion_ts="2026-01-02T02:00:00+00:00",
        ingestion_id="6f2f0f0e-0000-4000-8000-000000000000",
        bucket="lake",
        fields=list(fields),
        segments=[],
        groups=[],
    )
    return Published(manifest, ())


def part(folder: Path, type_: str, date: str, **columns: Sequence[object]) -> Path:
    """A part at its place."""
    path = (
        folder / f"data/bronze/orders/ingestion_date=2026-01-02/load_type={type_}/event_date={date}/part-00000.parquet"
    )
    path.parent.mkdir(parents=True)
    pl.DataFrame(columns).write_parquet(path)
    return path


def orders(*files: Path, fields: Sequence[EntityField] = FIELDS) -> EntityFiles:
    """The entity with these files."""
    return EntityFiles(PIPELINES["ecommerce.orders"], (load(1, 1, LoadType.FULL, fields),), files)


def test_an_entity_is_a_view_with_the_columns_of_its_folders(tmp_path: Path) -> None:
    """As text; rows without a business date have none, and what a part lacks is NULL."""
    files = [
        part(tmp_path, "full", "2026-01-01", order_id=[1, 2]),
        part(tmp_path, "incremental", "__HIVE_DEFAULT_PARTITION__", order_id=[3], note=["new"]),
    ]
    sql = "SELECT order_id, note, ingestion_date, load_type, event_date FROM orders ORDER BY order_id"
    assert [tuple(row.values()) for row in ask_entities([orders(*files)], sql, {})] == [
        (1, None, "2026-01-02", "full", "2026-01-01"),
        (2, None, "2026-01-02", "full", "2026-01-01"),
        (3, "new", "2026-01-02", "incremental", None),
    ]


def test_a_column_of_the_source_is_not_overwritten_by_a_folder(tmp_path: Path) -> None:
    """Then the folders add none at all."""
    own = [*FIELDS, EntityField(name="event_date", type="timestamp_us_utc")]
    file = part(tmp_path, "full", "2026-01-01", order_id=[1], event_date=[NOON])
    assert ask_entities([orders(file, fields=own)], "SELECT * FROM orders", {}) == [{"order_id": 1, "event_date": NOON}]


def test_an_entity_without_rows_is_an_empty_view() -> None:
    """With every column that its newest load had."""
    sql = "SELECT count(*) AS n, max(order_id) AS a, max(tags) AS b, max(_record_hash) AS c, max(event_date) AS d"
    assert ask_entities([orders()], f"{sql} FROM orders", {}) == [{"n": 0, "a": None, "b": None, "c": None, "d": None}]


def test_wrong_sql_is_one_clear_error() -> None:
    """Also where it names an entity that is not there."""
    with pytest.raises(BadDeclarationError, match=r"^the query failed: Catalog Error: .*payments"):
        ask_entities([orders()], "SELECT * FROM payments", {})


def test_a_generation_is_the_last_full_load_and_its_increments() -> None:
    """A sweep of keys is no rows; what came before the last full load is not read any more."""
    loads = [
        load(1, 1, LoadType.FULL),
        load(2, 1, LoadType.INCREMENTAL),
        load(3, 3, LoadType.FULL),
        load(4, 3, LoadType.KEYS),
        load(5, 3, LoadType.INCREMENTAL),
    ]
    assert [each.manifest.version for each in current(loads)] == [3, 5]
    assert [each.manifest.version for each in current(loads[:2])] == [1, 2]
    assert current([]) == ()


def test_only_entities_that_a_query_names_are_needed() -> None:
    """By whole words, in any case."""
    members = [pipeline for pipeline in PIPELINES.values() if pipeline.group == "ecommerce"]
    assert [each.entity for each in mentioned("SELECT * FROM ORDERS JOIN payments USING (order_id)", members)] == [
        "orders",
        "payments",
    ]
    assert [each.entity for each in mentioned("SELECT * FROM order_items", members)] == ["order_items"]


def test_json_has_what_json_can_have() -> None:
    """NaN and infinities are no numbers there, and bytes are written as PostgreSQL writes them."""
    assert as_json_values([{"a": math.nan, "b": -math.inf, "c": b"\x00\xff", "d": [1.5, None]}]) == [
        {"a": "nan", "b": "-inf", "c": "\\x00ff", "d": [1.5, None]}
    ]


@pytest.mark.parametrize(
    ("type_", "expected"),
    [("decimal(12,2)", "DECIMAL(12,2)"), ("list<decimal(38,18)>", "DECIMAL(38,18)[]"), ("time_us", "TIME")],
)
def test_field_types_have_names_in_duckdb(type_: str, expected: str) -> None:
    """Parameters included."""
    assert duckdb_type(type_) == expected
