"""Prints the tables of what was measured, as docs/costs.md has them: ``python -m bench.costs.figures``."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.runtime.settings import PROJECT

RESULTS = PROJECT / "bench" / "results" / "costs.json"
WARMING_UP = "warming up"
"""Name of scenarios that are there for the next one's sake."""
FACTS = ("rows", "listed", "segments", "chunks")
UNITS = (
    "s3 writes and lists",
    "s3 reads",
    "dynamodb write units",
    "dynamodb read units",
    "sqs requests",
    "sns publishes",
)

Scenario = Mapping[str, Any]


def measured() -> list[Scenario]:
    """The scenarios that were written down, by pipeline, without those that only warmed up."""
    scenarios: list[Scenario] = json.loads(RESULTS.read_text(encoding="utf-8"))["scenarios"]
    names = list(dict.fromkeys(each["name"] for each in scenarios))
    found = [each for each in scenarios if each["name"] != WARMING_UP]
    return sorted(found, key=lambda each: names.index(each["name"]))


def units_rows(scenarios: Iterable[Scenario]) -> Iterator[str]:
    """Billed units of each scenario, of all services together."""
    yield "| scenario | S3 writes, lists | S3 reads | DynamoDB write units | read units | SQS | SNS |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for each in scenarios:
        units = sum((Counter(took["units"]) for took in each["services"].values()), Counter[str]())
        yield f"| {_title(each)} | {' | '.join(f'{units[name]:,}' for name in UNITS)} |"


def seconds_rows(scenarios: Iterable[Scenario]) -> Iterator[str]:
    """Seconds of each service that worked on a scenario."""
    yield "| scenario | service | invocations | S3 | DynamoDB | others | CPU s | elsewhere s | billed s | clock s |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for each in scenarios:
        for service, took in each["services"].items():
            if took["invocations"]:
                trips = Counter(took["round_trips"])
                others = trips.total() - trips["s3"] - trips["dynamodb"]
                counts = (f"{count:,}" for count in (took["invocations"], trips["s3"], trips["dynamodb"], others))
                seconds = (f"{took[name]:.2f}" for name in ("cpu_s", "elsewhere_s", "billed_s", "wall_s"))
                yield f"| {' | '.join([_title(each), service, *counts, *seconds])} |"


def _title(each: Scenario) -> str:
    return ", ".join([each["name"], *(_counted(each[fact], fact) for fact in FACTS if each.get(fact))])


def _counted(count: int, fact: str) -> str:
    return f"{count:,} {fact.removesuffix('s') if count == 1 else fact}"


if __name__ == "__main__":
    print("\n".join([*units_rows(measured()), "", *seconds_rows(measured())]))
