"""What the Terraform module makes of tables of every kind, as `tidegate catalog` prints them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.fields import EntityField
from services.console.catalog import table_of, written_table
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT
from tests.unit.infra.terraform_support import Planned, Workspace, plan

pytestmark = pytest.mark.deploy

MAIN = """
provider "aws" {
  region = "eu-central-1"
}

module "catalog" {
  source         = "../../modules/catalog"
  stack          = "acme"
  results_bucket = "acme-athena-results"
  catalogs       = [for path in ["shop.json", "requests.json", "visits.json"] : jsondecode(file(path))]
}
"""
PIPELINES = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": "http://localhost"})
ORDER = [
    EntityField(name="order_id", type="int64", source_type="bigint"),
    EntityField(name="Total", type="decimal(12,2)"),
]


def printed() -> dict[str, dict[str, Any]]:
    """Files by name: two of one database, and one of another."""
    requests, visits = PIPELINES["nyc_311"], PIPELINES["visit_events"]
    return {
        "shop.json": {
            "database": "lake",
            "tables": [table_of("lake", "orders", "s3://acme-processed/data/bronze/orders/", [ORDER], "Orders")],
        },
        "requests.json": {"database": "lake", "tables": [written_table("lake", requests, "acme-processed", {})]},
        "visits.json": {"database": "visits", "tables": [written_table("visits", visits, "acme-checkpoints", {})]},
    }


@pytest.fixture(scope="module")
def planned(project: Path, workspace_of: Callable[[str], Workspace]) -> Planned:
    """The plan of the module alone."""
    folder = project / "infra/terraform/environments/catalog"
    folder.mkdir()
    (folder / "main.tf").write_text(MAIN)
    for name, content in printed().items():
        (folder / name).write_text(json.dumps(content))
    return plan(workspace_of("catalog"))


def test_tables_are_made_as_they_are_printed(planned: Planned) -> None:
    """Columns, partitions and places; what is printed for one database is one database."""
    assert set(planned.named("aws_glue_catalog_database")) == {"lake", "visits"}
    tables = planned.named("aws_glue_catalog_table")
    for each in (table for content in printed().values() for table in content["tables"]):
        made = tables.pop(each["Name"])
        assert made["database_name"] == each["DatabaseName"]
        assert made["parameters"] == each["Parameters"]
        assert [(key["name"], key["type"]) for key in made["partition_keys"]] == [
            (key["Name"], key["Type"]) for key in each["PartitionKeys"]
        ]
        [storage] = made["storage_descriptor"]
        assert storage["location"] == each["StorageDescriptor"]["Location"]
        assert [(column["name"], column["type"]) for column in storage["columns"]] == [
            (column["Name"], column["Type"]) for column in each["StorageDescriptor"]["Columns"]
        ]
    assert not tables


def test_every_table_gets_the_queries_of_its_kind(planned: Planned) -> None:
    """Partitions are registered where there are any; the rest is by load or by file."""
    queries = planned.named("aws_athena_named_query")
    assert set(queries) == {
        "orders: register partitions",
        "orders: rows by load",
        "orders: doubled versions",
        "service_requests: register partitions",
        "service_requests: rows by file",
        "service_requests: doubled rows",
        "service_requests: rows by delay",
        "events: rows by file",
        "events: doubled rows",
    }
    assert queries["service_requests: register partitions"]["query"] == "MSCK REPAIR TABLE `service_requests`"
    assert queries["service_requests: doubled rows"]["query"].startswith('SELECT "unique_key", count(*)')
    alike = ", ".join(f'"{name}"' for name in PIPELINES["visit_events"].output_columns)
    assert f"GROUP BY {alike}\n" in queries["events: doubled rows"]["query"]
    assert 'min("timestamp") AS earliest' in queries["events: rows by file"]["query"]
    assert (
        r"month=[^/]+/data_([0-9]{4}-[0-9]{2}-[0-9]{2})\.parquet$'"
        in queries["service_requests: rows by delay"]["query"]
    )
    assert all(query["database"] in {"lake", "visits"} for query in queries.values())


@pytest.mark.usefixtures("planned")
def test_the_catalogue_is_made_and_stays(workspace_of: Callable[[str], Workspace]) -> None:
    """An apply makes all of it, and a second plan finds nothing to do."""
    workspace = workspace_of("catalog")
    applied = workspace.run("apply", "-no-color", "-auto-approve")
    assert applied.returncode == 0, applied.stderr
    again = workspace.run("plan", "-no-color", "-detailed-exitcode")
    assert again.returncode == 0, again.stdout + again.stderr
