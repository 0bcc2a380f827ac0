"""Glue tables of partition trees and checkpoints, out of declarations."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest

from contracts.pipelines import Pipeline
from contracts.records import ColumnType
from services.console.catalog import GLUE_TYPES, places, written_table
from services.merger.adapters.tables import schema_of, to_parquet
from services.runtime.declarations import load_pipelines
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT
from tests.cli_support import done, tidegate

PIPELINES = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": "http://localhost"})
NYC, VISITS = PIPELINES["nyc_311"], PIPELINES["visit_events"]


def with_key(pipeline: Pipeline, key: str, **columns: str) -> Pipeline:
    """The pipeline with another key, and with more columns."""
    document = pipeline.model_dump(mode="json")
    document["target"] |= {"key": key}
    document["columns"] |= {name: {"type": type_} for name, type_ in columns.items()}
    return Pipeline.model_validate(document)


def table(pipeline: Pipeline, neighbours: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Its table, read back from JSON as Terraform reads it."""
    made: dict[str, Any] = json.loads(json.dumps(written_table("lake", pipeline, "processed", neighbours or {})))
    return made


def shape(key: str, pipeline: Pipeline = NYC) -> tuple[str, list[str]]:
    """Location and partitions of a table whose objects have such keys."""
    made = table(with_key(pipeline, key))
    return made["StorageDescriptor"]["Location"], [each["Name"] for each in made["PartitionKeys"]]


def types_of(made: dict[str, Any]) -> dict[str, str]:
    """Its columns."""
    return {each["Name"]: each["Type"] for each in made["StorageDescriptor"]["Columns"]}


def test_a_partition_tree_is_partitioned_by_its_folders() -> None:
    """Partitions are text, and columns are those that the pipeline declares, in its order."""
    made = table(NYC)
    assert (made["DatabaseName"], made["Name"], made["Description"]) == ("lake", "service_requests", NYC.description)
    assert made["StorageDescriptor"]["Location"] == "s3://processed/processed/"
    assert made["PartitionKeys"] == [{"Name": "year", "Type": "string"}, {"Name": "month", "Type": "string"}]
    assert list(types_of(made)) == list(NYC.columns)
    assert types_of(made)["location"] == "struct<latitude:double,longitude:double>"


def test_a_checkpoint_is_a_table_of_the_folder_it_lies_in() -> None:
    """It has no partitions; its columns are those of the record."""
    made = table(VISITS)
    assert (made["Name"], made["PartitionKeys"]) == ("events", [])
    assert made["StorageDescriptor"]["Location"] == "s3://processed/checkpoints/"
    columns = types_of(made)
    assert list(columns) == list(VISITS.output_columns)
    assert (columns["pipeline_adcid"], columns["visit_date"], columns["timestamp"]) == ("int", "date", "timestamp")


PHYSICAL = {
    "BYTE_ARRAY String": "string",
    "INT32 None": "int",
    "INT64 None": "bigint",
    "DOUBLE None": "double",
    "BOOLEAN None": "boolean",
    "INT32 Date": "date",
    "INT64 Timestamp": "timestamp",
}


@pytest.mark.parametrize("type_", get_args(ColumnType))
def test_the_type_of_a_column_is_that_of_the_files(type_: ColumnType) -> None:
    """What the merger writes into Parquet for each type is what the table says of it."""
    file = pq.ParquetFile(io.BytesIO(to_parquet(schema_of({"a": type_}).empty_table(), "c")))
    leaves = [file.schema.column(place) for place in range(len(file.schema))]
    found = [PHYSICAL[f"{leaf.physical_type} {leaf.logical_type.type.title()}"] for leaf in leaves]
    names = [leaf.path.partition(".")[2] for leaf in leaves]
    nested = f"struct<{','.join(f'{name}:{kind}' for name, kind in zip(names, found, strict=True))}>"
    assert GLUE_TYPES[type_] == (nested if names[0] else found[0])


@pytest.mark.parametrize(
    ("key", "folder", "partitions"),
    [
        ("a/b/day={created_date:%Y-%m-%d}/{run_date}.parquet", "a/b/", ["day"]),
        ("of={agency}/run={run_date}/x.parquet", "", ["of", "run"]),
        ("a/b=1/c={agency}-{borough}/d=2/x.parquet", "a/b=1/", ["c", "d"]),
        ("a/data_{run_date}.parquet", "a/", []),
        ("a/{agency}/{borough}/x.parquet", "a/", []),
        ("a/year={created_date:%Y}/{agency}/x.parquet", "a/", []),
        ("a/day={created_date:%Y/%m/%d}/x.parquet", "a/", []),
        ("a/agency={agency}/x.parquet", "a/", []),
        ("a/Year={created_date:%Y}/x.parquet", "a/", []),
        ("a/y={created_date:%Y}/y={created_date:%y}/x.parquet", "a/", []),
    ],
)
def test_folders_are_partitions_where_athena_finds_all_of_them(key: str, folder: str, partitions: list[str]) -> None:
    """Else the table reads everything below: no folder may be overlooked, and no partition hide a column."""
    assert shape(key) == (f"s3://processed/{folder}", partitions)


def test_a_checkpoint_for_each_study_is_one_table() -> None:
    """Study and data type are columns of the files already."""
    assert shape("checkpoints/{study}/{datatype}/events.parquet", VISITS) == ("s3://processed/checkpoints/", [])
    assert shape("all/of={study}/events.parquet", VISITS) == ("s3://processed/all/", ["of"])


@pytest.mark.parametrize(
    ("pipeline", "neighbours", "stranger"),
    [
        (VISITS, {"others": ["checkpoints/others.parquet"]}, "others"),
        (with_key(VISITS, "events.parquet"), {"others": ["far/away/"]}, "others"),
        (NYC, {"shop.orders": ["data/bronze/orders/", "processed/logs/"]}, "shop.orders"),
        (with_key(NYC, "pipeline_state/data.parquet"), {}, "the state mirror of nyc_311"),
    ],
)
def test_a_folder_that_holds_something_else_is_refused(
    pipeline: Pipeline, neighbours: dict[str, list[str]], stranger: str
) -> None:
    """Athena would read it as rows of the table."""
    with pytest.raises(BadDeclarationError, match=rf"^{pipeline.name}: Athena reads all of .*, and {stranger} writes"):
        table(pipeline, neighbours)


def test_what_a_pipeline_writes_itself_is_no_stranger() -> None:
    """Nor is its state mirror where partitions lead to the files, nor what lies elsewhere in the bucket."""
    mirrored = NYC.model_copy(update={"target": NYC.target.model_copy(update={"state_mirror": "processed/m.json"})})
    assert table(mirrored, {"nyc_311": places(mirrored), "orders": places(PIPELINES["ecommerce.orders"])})
    assert places(NYC) == ["processed/year=", "pipeline_state/last_run_timestamp.json"]
    assert places(VISITS) == ["checkpoints/events.parquet"]
    assert places(PIPELINES["ecommerce.orders"]) == ["data/bronze/orders/", "logs/pipeline/ingestion/"]


def test_columns_that_differ_in_their_case_alone_are_refused() -> None:
    """Glue knows names in lower case only."""
    with pytest.raises(BadDeclarationError, match="two columns that are 'agency' in lower case"):
        table(with_key(NYC, "a/x.parquet", AGENCY="string"))


def test_a_name_that_athena_does_not_know_is_refused() -> None:
    """Its documentation has letters, digits and the underscore; a quote would end the name in a query."""
    with pytest.raises(BadDeclarationError, match=r"^nyc_311: column .na\"me. needs a name of letters"):
        table(with_key(NYC, "a/x.parquet", **{'na"me': "string"}))


def test_a_table_says_what_its_queries_need() -> None:
    """The key of its rows, the cursor, and how the day of the run is found in a key."""
    facts = {name: value for name, value in table(NYC)["Parameters"].items() if name.startswith("tidegate.")}
    run_date = facts.pop("tidegate.run_date")
    assert facts == {
        "tidegate.target": "partitions",
        "tidegate.order_by": "created_date",
        "tidegate.unique_key": "unique_key",
        "tidegate.cursor": "created_date",
    }
    found = re.search(run_date, "s3://b/processed/year=2026/month=01/data_2026-02-03.parquet")
    assert found is not None
    assert found[1] == "2026-02-03"
    run_date = table(with_key(NYC, "a.b/{created_date:%Y/%m}/{run_date}/{run_date}.p"))["Parameters"][
        "tidegate.run_date"
    ]
    found = re.search(run_date, "s3://b/a.b/2026/01/2026-02-03/2026-02-03.p")
    assert found is not None
    assert found[1] == "2026-02-03"
    assert "tidegate.run_date" not in table(with_key(NYC, "a/{agency}.parquet"))["Parameters"]
    assert table(VISITS)["Parameters"]["tidegate.target"] == "checkpoint"


@pytest.mark.parametrize(
    ("name", "table_name", "location"),
    [
        ("nyc_311", "service_requests", "s3://acme-processed/processed/"),
        ("visit_events", "events", "s3://acme-checkpoints/checkpoints/"),
    ],
)
def test_the_command_needs_nothing_but_declarations(
    name: str, table_name: str, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of a stack, so it need not be there."""
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_DEFAULT_REGION": "eu-central-1", "TIDEGATE_STACK": "acme"}
    for variable, value in nowhere.items():
        monkeypatch.setenv(variable, value)
    told = done("catalog", name).json
    [made] = told["tables"]
    assert told["database"] == made["DatabaseName"] == f"acme_{name}"
    assert (made["Name"], made["StorageDescriptor"]["Location"]) == (table_name, location)
    assert "has no entities to choose from" in tidegate("catalog", name, "orders").err
