"""The operator's commands over entities in bronze, on a ledger, parts and schemas that were put there by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts.envelope import open_message
from contracts.runs import LoadType, PlanRun
from services.console.local.emulator import Emulator
from services.console.session import Session
from tests.cli_support import Ended, done, tidegate
from tests.emulator_support import Stack, new_stack, provision_now
from tests.integration.bronze_support import DENIED, END, GROUP_RUN, ITEMS, ORDERS, fill_bronze
from tests.integration.console_support import in_session


@pytest.fixture(scope="module")
def bronze(emulator: Emulator) -> Iterator[Stack]:
    """A stack that holds three loads of orders, one of them unfinished, and a group's run in which the items failed."""
    stack = new_stack(emulator)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environ, "PAYMENTS_API_URL": "http://127.0.0.1:1"}.items():
            patch.setenv(name, value)
        provision_now(stack)
        in_session(fill_bronze)
        yield stack


pytestmark = pytest.mark.usefixtures("bronze")


def rows(ended: Ended) -> list[tuple[Any, ...]]:
    """The values of a query's answer."""
    return [tuple(record.values()) for record in ended.json]


def test_a_query_sees_the_last_full_load_and_its_increments() -> None:
    """What came before it is not in the view, nor is a load that is not complete yet."""
    sql = "SELECT order_id, total, channel, load_type, event_date FROM orders ORDER BY order_id, total"
    assert rows(done("query", "ecommerce", "--sql", sql, "--json")) == [
        (1, "1.00", None, "full", "2026-01-01"),
        (2, "2.50", None, "full", "2026-01-01"),
        (2, "3.50", "app", "incremental", "2026-01-01"),
        (3, "0.01", None, "full", None),
    ]
    assert rows(done("query", ORDERS, "--sql", "SELECT count(*) FROM orders", "--json")) == [(4,)]


def test_named_queries_of_a_group_are_listed_and_answered() -> None:
    """An entity that has none says so; one that no load has brought yet, too."""
    assert "duplicates" in done("query", "ecommerce").out
    assert rows(done("query", "ecommerce", "duplicates", "--json")) == []
    assert tidegate("query", ORDERS, "duplicates").err.endswith(
        "ecommerce.orders has no query 'duplicates'; it has none\n"
    )
    missing = tidegate("query", "ecommerce", "versions")
    assert (missing.code, "has no output yet" in missing.err) == (1, True)


def test_an_export_keeps_the_folders_of_the_parts(tmp_path: Path) -> None:
    """So that any engine reads the partitions from them."""
    files = done("export", "ecommerce", "orders", tmp_path, "--json").json["files"]
    assert len(files) == 3
    parts = duckdb.read_parquet(f"{tmp_path}/**/*.parquet", hive_partitioning=True)
    [(count, newest)] = parts.aggregate("count(*), max(event_date)").fetchall()
    assert (count, str(newest)) == (4, "2026-01-01")
    assert tidegate("export", "ecommerce", "nothing", tmp_path).err.startswith(
        "error: ecommerce has no entity 'nothing'"
    )


def test_a_damaged_part_is_not_read(tmp_path: Path) -> None:
    """Its size is not what the load wrote: one error names it."""
    folder = "ingestion_date=2026-01-03/load_type=incremental/event_date=2026-01-01"

    async def swap(session: Session, body: bytes | None = None) -> bytes:
        bucket, key = session.settings.resource("processed"), f"data/bronze/orders/{folder}/part-00000.parquet"
        before = (await session.objects.get(bucket, key)).body
        await session.objects.put(bucket, key, before[:-1] if body is None else body)
        return before

    whole = in_session(swap)
    ended = tidegate("export", ORDERS, tmp_path)
    in_session(lambda session: swap(session, whole))
    assert ended.code == 1
    assert f"part-00000.parquet has {len(whole) - 1} bytes; the load wrote {len(whole)}" in ended.err


def test_watermarks_of_entities() -> None:
    """A group shows those of its entities; one at a time is moved, backwards, and a dry run only says so."""
    assert END in done("watermark", "show", "ecommerce").out
    told = done("watermark", "rewind", ORDERS, "--to", "2026-01-01T12:00:00+02:00", "--dry-run").out
    assert told.startswith(
        f"the next load would read from 2026-01-01T10:00:00.000000; as it stands, it reads from {END}"
    )
    assert "a full one" in done("watermark", "reset", ORDERS, "--dry-run").out
    assert "is later than" in tidegate("watermark", "rewind", ORDERS, "--to", "2026-01-03").err
    assert "name one of its entities" in tidegate("watermark", "reset", "ecommerce").err
    assert done("watermark", "show", ORDERS, "--json").json["cursor"] == END


def test_a_groups_run_is_shown_with_its_entities() -> None:
    """Each with its rows, watermark and reason; it is a line of its own in the list of runs."""
    out = done("status", GROUP_RUN).out
    assert f"reason: 1 of 2 entities failed: {ITEMS}: {DENIED}" in out
    assert END in out
    told = done("status", GROUP_RUN, "--json").json
    assert told["records"] == 4
    assert {name: each["state"] for name, each in told["entities"].items()} == {
        "orders": "succeeded",
        "order_items": "failed",
    }
    assert told["entities"]["orders"]["balanced"] is True
    assert "2/2 entities" in done("status").out


def test_waiting_for_a_group_ends_with_one_line_that_names_the_failed() -> None:
    """And with exit code 1."""
    ended = tidegate("wait", GROUP_RUN)
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (f"error: run {GROUP_RUN} failed: 1 of 2 entities failed: {ITEMS}: {DENIED}")


def test_a_run_is_asked_for_as_a_whole_or_in_part(bronze: Stack) -> None:
    """One request goes to the planner, with the load type in any case."""
    run_id = done("run", "ecommerce", "orders", "payments", "--payload", '{"load_type": "FULL"}', "--json").json[
        "run_id"
    ]
    own = done("run", ORDERS, "--json").json["run_id"]
    assert own.startswith("ecommerce.orders-")

    async def taken(session: Session) -> dict[str, PlanRun]:
        url = (await session.clients.sqs.get_queue_url(QueueName=f"{bronze.name}-plan-requests"))["QueueUrl"]
        answer = await session.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        read = [open_message(message["Body"], {PlanRun.kind(): PlanRun})[1] for message in answer["Messages"]]
        return {payload.run_id: payload for payload in read if isinstance(payload, PlanRun)}

    asked = in_session(taken)
    assert (asked[run_id].pipeline, asked[run_id].entities) == ("ecommerce", ["orders", "payments"])
    assert (asked[run_id].load.load_type, asked[own].load.load_type) == (LoadType.FULL, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("run", "ecommerce", "nothing"), "ecommerce has no entity 'nothing'; it has customers"),
        (("run", ORDERS, "orders"), "ecommerce.orders has no entities to choose from"),
        (("run", "ecommerce", "--payload", '{"load_type": "half"}'), "--payload: load_type: Input should be"),
        (("plan", "ecommerce", "--payload", '{"max_records": 1}'), "--payload: max_records: Extra inputs"),
        (("checkpoint", "versions", ORDERS), "ecommerce.orders has loads in bronze and no checkpoints"),
        (("catalog", "conflict_report"), "conflict_report is a chunked job: its rows are in its database"),
        (("quarantine", "replay", "ecommerce.payments"), "a load is not replayed"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], error: str) -> None:
    """With exit code 2, and nothing is sent."""
    ended = tidegate(*arguments)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"error: {error}")


def test_quarantine_holds_what_no_later_load_has_judged_anew() -> None:
    """A success reads everything again that failed before it."""
    assert done("quarantine", "list", "ecommerce", "--json").json == [
        {"signature": "invalid-row amount:decimal", "records": 1, "example": "k"}
    ]
    [entry] = done("quarantine", "show", "ecommerce.payments", "invalid-row", "--json").json
    assert entry["run_id"] == "pay-2"


def test_the_catalog_has_the_columns_of_all_schemas() -> None:
    """Entities that were never planned are left out; Terraform reads the rest."""
    told = done("catalog", "ecommerce", "--database", "lake").json
    assert told["database"] == "lake"
    [orders] = told["tables"]
    columns = orders["StorageDescriptor"]["Columns"]
    assert [(each["Name"], each["Type"]) for each in columns[:3]] == [
        ("order_id", "bigint"),
        ("total", "decimal(12,2)"),
        ("channel", "string"),
    ]
    assert orders["StorageDescriptor"]["Location"].endswith("-processed/data/bronze/orders/")
