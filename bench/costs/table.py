"""Prints the table of docs/costs.md: ``python -m bench.costs.table``."""

from collections.abc import Iterator

from bench.costs import prices
from bench.costs.figures import RESULTS
from bench.costs.model import Day, Model, fixed, is_one_object

SIZES = (10_000, 1_000_000, 1_000_000_000)
BURST = 1_000
"""Files of one batch: what the queue's event source mapping hands over at once."""
WINDOW_S = 2
"""Batch window of the validator."""


def days(model: Model, rows: int) -> Iterator[tuple[str, Day]]:
    """A day of each pipeline; pieces as large as the declarations have them."""
    mark = "" if is_one_object(rows) else " *"
    yield f"visit_events, in bursts{mark}", model.visit_events(rows, max(rows / BURST, 1))
    yield f"visit_events, evenly{mark}", model.visit_events(rows, max(min(rows, 86_400 / WINDOW_S), rows / BURST))
    yield "nyc_311", model.pieces("nyc_311", rows, max(rows / 10_000, 1), runs=1, by="segments")
    yield "ecommerce", model.pieces("ecommerce", rows, max(rows / 250_000, 6), runs=6, by="segments")
    yield "conflict_report", model.pieces("conflict_report", rows, max(rows / 10_000, 1), runs=1, by="chunks")


def lines() -> Iterator[str]:
    """The table, in Markdown; dollars."""
    model = Model(RESULTS)
    yield (
        "| rows a day | pipeline | S3 requests | DynamoDB | SQS, SNS | Lambda | old versions | a day | a month "
        "| dominated by |"
    )
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|---|"
    for rows in SIZES:
        for name, day in days(model, rows):
            costs = day.costs()
            total = sum(costs.values())
            most = max(costs, key=lambda kind: costs[kind])
            cells = " | ".join(dollars(value) for value in [*costs.values(), total, total * prices.DAYS])
            yield f"| {rows:,} | {name} | {cells} | {most}, {costs[most] / total:.0%} |"
    idle = " | ".join(dollars(value) for value in (fixed(), fixed() * prices.DAYS))
    yield f"| any | the stack itself, idle | | | | | | {idle} | polling |"


def dollars(value: float) -> str:
    """Two digits that say something; a dash for what is not counted."""
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"  # noqa: PLR2004 - digits


if __name__ == "__main__":
    print("\n".join(lines()))
