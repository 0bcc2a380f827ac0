"""The table of docs/costs.md, and the sums behind it."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from bench.costs import prices
from bench.costs.counting import Bill, Span, round_trips, waiting_s
from bench.costs.figures import RESULTS, Scenario, measured, seconds_rows, units_rows
from bench.costs.mapping import event_of
from bench.costs.model import Day, Model
from bench.costs.seconds import CPU, ELSEWHERE, LATENCY_S, VCPU_MB, WAITS, billed_s
from bench.costs.table import lines
from services.runtime.settings import PROJECT
from services.runtime.shells.lambda_batch import read_batch


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


def test_round_trips_are_the_longest_chain_of_requests() -> None:
    """Requests side by side wait once; of several chains the one that takes longest at AWS counts."""
    reads = [Span("s3", 0.0, 1.0), Span("s3", 0.1, 1.2), Span("s3", 0.2, 1.1)]
    after = [Span("dynamodb", 1.1, 1.2), Span("s3", 1.1, 1.5), Span("dynamodb", 1.6, 1.7)]
    assert round_trips([*after, *reads]) == {"s3": 2, "dynamodb": 1}
    assert round_trips([]) == {}


@pytest.mark.parametrize(
    ("since", "until", "seconds"), [(0.0, 10.0, 3.5), (1.5, 10.0, 2.5), (0.0, 2.5, 2.0), (3.5, 4.5, 0.0)]
)
def test_waiting_is_counted_once(since: float, until: float, seconds: float) -> None:
    """Seconds in which several requests are under way are counted once, and only those of the invocation."""
    spans = [Span("s3", 5.0, 6.0), Span("s3", 1.0, 2.0), Span("s3", 0.5, 3.0), Span("s3", 2.0, 2.5)]
    assert waiting_s(spans, since, until) == pytest.approx(seconds)


def test_seconds_are_processor_time_round_trips_and_waiting_for_others() -> None:
    """A function with less memory than a whole vCPU takes longer to compute, but not to wait."""
    asked = {CPU: 1.0, ELSEWHERE: 0.5, WAITS + "s3": 2.0, WAITS + "dynamodb": 4.0}
    waits = 2 * LATENCY_S["s3"] + 4 * LATENCY_S["dynamodb"] + 0.5
    assert billed_s("merger", asked) == pytest.approx(1.0 + waits)
    assert billed_s("planner", asked) == pytest.approx(VCPU_MB / 1024 + waits)


@pytest.mark.parametrize("rows", [units_rows, seconds_rows])
def test_the_documented_figures_are_the_measured_ones(rows: Callable[[Iterable[Scenario]], Iterator[str]]) -> None:
    """Whoever measures anew must print the tables of units and seconds anew."""
    assert "\n".join(rows(measured())) in (PROJECT / "docs" / "costs.md").read_text(encoding="utf-8")


def test_messages_become_the_event_that_a_function_gets() -> None:
    """With the ids by which it reports failures, and the name of the queue."""
    message = {"MessageId": "1", "ReceiptHandle": "r", "Body": "{}", "Attributes": {"ApproximateReceiveCount": "2"}}
    (delivery,) = read_batch(event_of("tidegate-plan-requests", [message]))
    assert (delivery.id, delivery.body, delivery.receives, delivery.queue) == ("1", "{}", 2, "tidegate-plan-requests")
