"""Glue tables out of recorded schemas."""

from collections.abc import Sequence

import pytest

from contracts.fields import EntityField
from services.console.catalog import GLUE_TYPES, glue_type, merged, table_of, widest

FIRST = (
    EntityField(name="order_id", type="int32", source_type="integer"),
    EntityField(name="Total", type="decimal(10,2)", source_type="numeric(10,2)"),
    EntityField(name="gone", type="list<string>"),
)
SECOND = (
    EntityField(name="order_id", type="int64", source_type="bigint"),
    EntityField(name="added", type="timestamp_us_utc"),
    EntityField(name="Total", type="decimal(12,4)", source_type="numeric(12,4)"),
)


def table(*versions: Sequence[EntityField]) -> dict[str, object]:
    """The table of an entity with these schemas."""
    return table_of("lake_shop", "orders", "s3://lake/data/bronze/orders/", versions, "All orders")


def test_columns_of_all_versions_stand_in_the_order_they_came_with_their_widest_type() -> None:
    """Dropped columns stay, and lineage comes last; Glue keeps names in lower case."""
    storage = table(FIRST, SECOND)["StorageDescriptor"]
    assert isinstance(storage, dict)
    assert [(column["Name"], column["Type"]) for column in storage["Columns"]] == [
        ("order_id", "bigint"),
        ("total", "decimal(12,4)"),
        ("gone", "array<string>"),
        ("added", "timestamp"),
        ("_ingestion_ts", "timestamp"),
        ("_source_system", "string"),
        ("_record_hash", "string"),
        ("_ingestion_id", "string"),
    ]
    assert storage["Columns"][0]["Comment"] == "bigint"
    assert "Comment" not in storage["Columns"][2]


def test_a_table_says_where_its_parquet_lies_and_how_it_is_partitioned() -> None:
    """Partitions are text, in the order of the folders."""
    made = table(FIRST)
    assert (made["DatabaseName"], made["Name"], made["Description"]) == ("lake_shop", "orders", "All orders")
    assert made["PartitionKeys"] == [
        {"Name": "ingestion_date", "Type": "string"},
        {"Name": "load_type", "Type": "string"},
        {"Name": "event_date", "Type": "string"},
    ]
    storage = made["StorageDescriptor"]
    assert isinstance(storage, dict)
    assert storage["Location"] == "s3://lake/data/bronze/orders/"
    assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")


def test_a_column_of_the_source_takes_the_place_of_a_partition_of_its_name() -> None:
    """Glue refuses a table that has both."""
    own = EntityField(name="Event_Date", type="date")
    keys = table([own])["PartitionKeys"]
    assert keys == [{"Name": "ingestion_date", "Type": "string"}, {"Name": "load_type", "Type": "string"}]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("int16", "int64", "int64"),
        ("int64", "int32", "int64"),
        ("float32", "float64", "float64"),
        ("int32", "decimal(12,2)", "decimal(12,2)"),
        ("decimal(12,2)", "int64", "decimal(21,2)"),
        ("decimal(20,1)", "decimal(10,9)", "decimal(28,9)"),
        ("decimal(38,0)", "decimal(38,38)", "decimal(38,38)"),
        ("list<int32>", "list<int64>", "list<int64>"),
        ("string", "date", "date"),
        ("date", "string", "string"),
        ("list<int32>", "string", "string"),
    ],
)
def test_the_widest_type_holds_both_or_the_newest_begins_anew(before: str, now: str, expected: str) -> None:
    """Where no type holds both, a full load has begun a new generation with the new one."""
    assert widest(before, now) == expected


def test_every_field_type_has_a_name_in_glue() -> None:
    """Lists and decimals with their parameters."""
    assert {glue_type(name) for name in GLUE_TYPES} == set(GLUE_TYPES.values())
    assert glue_type("list<decimal(38,18)>") == "array<decimal(38,18)>"


def test_versions_without_a_change_make_no_difference() -> None:
    """Merging is idempotent."""
    assert merged([FIRST, FIRST]) == list(FIRST)
