"""What a day of each pipeline costs, from counted requests, measured seconds, and list prices.

Units and seconds of a run grow with three things: the run itself, its pieces (batches of files, segments, chunks) and
its rows. Two measured scenarios with different numbers of pieces give the share of each; see docs/costs.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.costs import prices
from bench.costs.checkpoint import Checkpoint, commits, versions_dollars
from bench.costs.seconds import CPU, ELSEWHERE, INVOCATIONS, LATENCY_S, billed_s, flat
from contracts.topology import TOPOLOGY

WINDOW_S = TOPOLOGY.queue("merge-segments").batch_window_s
"""How long a merger gathers what shares a commit."""

SECONDS_PER_ROW: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "nyc_311": {
        "fetcher": {CPU: 2.6 / 200_000},
        "validator": {CPU: 2.0 / 200_000},
        "merger": {CPU: 2.1 / 200_000},
    },
    "ecommerce": {"fetcher": {CPU: 3.0 / 2e6}, "validator": {CPU: 0.8 / 2e6}, "merger": {CPU: 5.1 / 2e6}},
    "conflict_report": {"chunk_worker": {CPU: 3.2 / 1e6, ELSEWHERE: 7.2 / 1e6}},
}
"""Measured: seconds of each service in the benchmarks of bench/results (nyc_311_full_50ms, bronze_full, conflict_report
with one worker and 10,000 rows a chunk). The sample runs that the rest is from have too few rows to tell."""

UNIT_PRICES = {
    "s3 writes and lists": prices.S3_PUT_COPY_POST_LIST,
    "s3 reads": prices.S3_GET,
    "dynamodb write units": prices.DYNAMODB_WRITE_UNIT,
    "dynamodb read units": prices.DYNAMODB_READ_UNIT,
    "sqs requests": prices.SQS_REQUEST,
    "sns publishes": prices.SNS_PUBLISH,
    "secrets calls": prices.SECRETS_CALL,
}

Units = Mapping[str, float]


@dataclass
class Day:
    """What a day takes."""

    units: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNIT_PRICES, 0.0))
    gb_seconds: float = 0.0
    invocations: float = 0.0
    versions: float = 0.0
    """Dollars of what is stored for nobody but a restore."""

    def add(self, service: str, units: Units, times: float) -> None:
        """Count units and invocations ``times`` over, with the seconds that a service is billed for them."""
        _count(self, units, times)
        self.work(service, billed_s(service, units) * times)
        self.invocations += units.get(INVOCATIONS, 0.0) * times

    def work(self, service: str, seconds: float) -> None:
        """Count seconds of a service's function."""
        self.gb_seconds += seconds * prices.MEMORY_GB[service]

    def costs(self) -> dict[str, float]:
        """Dollars by what they are paid for."""
        found = {"S3 requests": 0.0, "DynamoDB": 0.0, "SQS and SNS": 0.0}
        for name, price in UNIT_PRICES.items():
            kind = {"s3": "S3 requests", "dynamodb": "DynamoDB"}.get(name.partition(" ")[0], "SQS and SNS")
            found[kind] += self.units[name] * price
        found["Lambda"] = self.gb_seconds * prices.LAMBDA_GB_S + self.invocations * prices.LAMBDA_REQUEST
        found["old versions"] = self.versions
        return found


def _count(day: Day, units: Units, times: float) -> None:
    for name in UNIT_PRICES:
        day.units[name] += units.get(name, 0) * times


def is_one_object(rows: int) -> bool:
    """Whether a month of so many rows a day fits one checkpoint."""
    return Checkpoint(prices.DAYS * rows).is_one_object


def shares(one: Mapping[str, Any], other: Mapping[str, Any], service: str, by: str) -> tuple[Units, Units]:
    """What a service asks for once in a run, and for each piece, from two runs of different numbers of pieces."""
    first, second = (flat(each["services"][service]) for each in (one, other))
    pieces = other[by] - one[by]
    names = {*first, *second}
    each = {name: max(0.0, (second.get(name, 0) - first.get(name, 0)) / pieces) for name in names}
    return {name: max(0.0, first.get(name, 0) - each[name] * one[by]) for name in names}, each


class Model:
    """Days of each pipeline, from what ``bench.costs.measure`` wrote down."""

    def __init__(self, results: Path) -> None:
        scenarios: Sequence[Mapping[str, Any]] = json.loads(results.read_text(encoding="utf-8"))["scenarios"]
        self._found: dict[str, list[Mapping[str, Any]]] = {}
        for each in scenarios:
            self._found.setdefault(each["name"], []).append(each)

    def visit_events(self, rows: int, batches: float, *, sweeps: int = 24) -> Day:
        """Files that arrive in so many batches; each is settled once, and looked up again by each sweep of a day."""
        many, alone = self._found["visit_events"][-1], self._found["visit_events one by one"][0]
        day = Day()
        for service in ("validator", "merger"):
            single, lot = (flat(each["services"][service]) for each in (alone, many))
            count, pieces = (each["services"][service]["invocations"] for each in (alone, many))
            per_row = {
                name: max(0.0, (lot.get(name, 0) - single.get(name, 0) / count * pieces)) / (many["rows"] - pieces)
                for name in {*single, *lot}
            }
            per_batch = {name: max(0.0, single.get(name, 0) / count - each) for name, each in per_row.items()}
            day.add(service, per_batch, batches)
            day.add(service, per_row, rows)
        # The upload itself, its announcement, and that of each validated segment.
        _count(day, {"s3 writes and lists": rows, "sns publishes": rows + batches}, 1)
        _count(day, {"dynamodb read units": rows, "s3 writes and lists": rows * prices.DAYS / 1_000}, sweeps)
        sweep = self._found["visit_events sweep"][0]
        day.work("planner", sweeps * rows * billed_s("planner", flat(sweep["services"]["planner"])) / sweep["listed"])
        day.work("planner", sweeps * rows * prices.DAYS / 1_000 * LATENCY_S["s3"])
        checkpoint = Checkpoint(prices.DAYS * rows)
        if checkpoint.is_one_object:
            times = commits(batches, WINDOW_S, checkpoint)
            day.add("merger", checkpoint.commit(), times)
            day.add("merger", checkpoint.compactions(rows), 1)
            day.versions = versions_dollars(times, checkpoint)
        return day

    def pieces(self, pipeline: str, rows: int, pieces: float, *, runs: int, by: str) -> Day:
        """Rows in so many segments or chunks."""
        one, other = self._found[pipeline][-2:]
        day = Day()
        for service in one["services"]:
            if not one["services"][service]["invocations"]:
                continue
            per_run, per_piece = shares(one, other, service, by)
            day.add(service, per_run, runs)
            day.add(service, per_piece, pieces)
            day.work(service, billed_s(service, SECONDS_PER_ROW[pipeline].get(service, {})) * rows)
        return day


def fixed() -> float:
    """Dollars a day of a stack that does nothing: pollers that ask, and five secrets."""
    return prices.IDLE_POLLS_A_DAY * prices.SQS_REQUEST + 5 * prices.SECRET_MONTH / prices.DAYS
