"""The table of docs/costs.md, and the sums behind it."""

import pytest

from bench.costs import prices
from bench.costs.counting import Bill
from bench.costs.measure import RESULTS
from bench.costs.model import Day, Model
from bench.costs.table import lines
from services.runtime.settings import PROJECT


def test_the_documented_table_is_the_computed_one() -> None:
    """Whoever changes a price, a measurement or the model must print the table anew."""
    assert "\n".join(lines()) in (PROJECT / "docs" / "costs.md").read_text(encoding="utf-8")


def test_a_day_costs_units_times_prices() -> None:
    """A million of a unit costs what its price list says."""
    day = Day()
    day.add("merger", {"sqs requests": 1.0}, 1_000_000)
    assert day.costs()["SQS and SNS"] == pytest.approx(0.40)
    day.work("merger", 1.0)
    assert day.costs()["Lambda"] == pytest.approx(3008 / 1024 * prices.LAMBDA_GB_S)


def test_twice_the_rows_cost_about_twice_as_much() -> None:
    """In bursts nothing but the checkpoint grows faster than the rows."""
    model = Model(RESULTS)
    small, large = (sum(model.visit_events(rows, rows / 1_000).costs().values()) for rows in (100_000, 200_000))
    assert 2 * small <= large < 2.5 * small


def test_transactions_take_two_units_and_large_items_more() -> None:
    """Request units are counted as DynamoDB bills them: by KB written, twice in a transaction."""
    bill = Bill()
    bill.dynamodb("PutItem", {"Item": {"value": {"S": "x" * 1_500}}}, b"{}")
    assert bill.units["dynamodb write units"] == 2
    bill.dynamodb("TransactWriteItems", {"TransactItems": [{"Update": {}}, {"Put": {}}]}, b"{}")
    assert bill.units["dynamodb write units"] == 6
    bill.dynamodb("Query", {}, b"x" * 9_000)
    assert bill.units["dynamodb read units"] == 3


def test_work_is_counted_from_the_last_question_to_the_last_deletion() -> None:
    """A poll that brings nothing costs nothing here; messages deleted one after another are one batch."""
    bill = Bill()
    bill.sqs("ReceiveMessage", {"QueueUrl": "http://x/1/jobs"}, b"{}")
    assert bill.units["sqs requests"] == 0
    bill.sqs("ReceiveMessage", {"QueueUrl": "http://x/1/jobs"}, b'{"Messages": [{"ReceiptHandle": "a"}]}')
    for handle in "ab":
        bill.sqs("DeleteMessage", {"QueueUrl": "http://x/1/jobs", "ReceiptHandle": handle}, b"{}")
    assert bill.busy()[0] == 1
    assert bill.units["sqs requests"] == 3
