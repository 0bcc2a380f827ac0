"""What a day of each pipeline costs, from counted requests, measured seconds a row, and list prices.

Units of a run grow with three things: the run itself, its pieces (batches of files, segments, chunks) and its rows. Two
measured scenarios with different numbers of pieces give the share of each; see docs/costs.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.costs import prices

ANSWER_S = 0.02
"""Assumed: how long S3 or DynamoDB takes to answer; requests of one piece count as if one followed the other."""

BYTES_PER_ROW = 24
"""Measured: of a checkpoint of visit events."""
REWRITE_BYTES_S = 50e6
"""Assumed: how fast a merger reads, merges and writes a checkpoint; it does so at every commit."""
SECONDS_PER_LOOKUP = 2.5 / 4_520
"""Measured: a sweep's seconds for each object that it lists and looks up."""
MOST_BYTES = 1e9
"""Of one checkpoint object that a merger with 3 GB of memory can hold. Beyond, keys must split it."""

SECONDS_PER_ROW: Mapping[str, Mapping[str, float]] = {
    "visit_events": {"validator": 3.19 / 10_000, "merger": 1.17 / 10_000},
    "nyc_311": {"fetcher": 2.6 / 200_000, "validator": 2.0 / 200_000, "merger": 2.1 / 200_000},
    "ecommerce": {"fetcher": 3.2 / 2e6, "validator": 0.8 / 2e6, "merger": 5.3 / 2e6},
    "conflict_report": {"chunk_worker": 2.5 / 12_000},
}
"""Measured: phases of the benchmarks in bench/results (visit_events_full, nyc_311_full_50ms, bronze_full), and a run of
the sample report."""

UNIT_PRICES = {
    "s3 writes and lists": prices.S3_PUT_COPY_POST_LIST,
    "s3 reads": prices.S3_GET,
    "dynamodb write units": prices.DYNAMODB_WRITE_UNIT,
    "dynamodb read units": prices.DYNAMODB_READ_UNIT,
    "sqs requests": prices.SQS_REQUEST,
    "sns publishes": prices.SNS_PUBLISH,
    "secrets calls": prices.SECRETS_CALL,
}
REQUESTS = ("s3 writes and lists", "s3 reads")
"""Units that are one request each; DynamoDB's are estimated as one request for ten."""

Units = Mapping[str, float]


@dataclass
class Day:
    """What a day takes."""

    units: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNIT_PRICES, 0.0))
    gb_seconds: float = 0.0
    invocations: float = 0.0

    def add(self, service: str, units: Units, times: float, *, invocations: float = 0.0) -> None:
        """Count units ``times`` over, with the time that a service waits for them."""
        waits = sum(units.get(name, 0) for name in REQUESTS)
        waits += sum(units.get(name, 0) for name in UNIT_PRICES if name.startswith("dynamodb")) / 10
        _count(self, units, times)
        self.work(service, waits * ANSWER_S * times)
        self.invocations += invocations * times

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
        return found


def _count(day: Day, units: Units, times: float) -> None:
    for name in UNIT_PRICES:
        day.units[name] += units.get(name, 0) * times


def is_one_object(rows: int) -> bool:
    """Whether a month of so many rows a day fits one checkpoint."""
    return prices.DAYS * rows * BYTES_PER_ROW <= MOST_BYTES


def shares(one: Mapping[str, Any], other: Mapping[str, Any], service: str, by: str) -> tuple[Units, Units]:
    """What a service asks for once in a run, and for each piece, from two runs of different numbers of pieces."""
    first, second = (each["services"][service]["units"] for each in (one, other))
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
            single, lot = (each["services"][service] for each in (alone, many))
            names = {*single["units"], *lot["units"]}
            count, pieces = alone["rows"], max(lot["batches"], 1)
            per_row = {
                name: max(0.0, (lot["units"].get(name, 0) - single["units"].get(name, 0) / count * pieces))
                / (many["rows"] - pieces)
                for name in names
            }
            per_batch = {name: max(0.0, single["units"].get(name, 0) / count - per_row[name]) for name in names}
            day.add(service, per_batch, batches, invocations=1)
            _count(day, per_row, rows)
            day.work(service, SECONDS_PER_ROW["visit_events"][service] * rows)
        # The upload itself, its announcement, and that of each validated segment.
        _count(day, {"s3 writes and lists": rows, "sns publishes": rows + batches}, 1)
        _count(day, {"dynamodb read units": rows, "s3 writes and lists": rows * prices.DAYS / 1_000}, sweeps)
        day.work("planner", sweeps * rows * SECONDS_PER_LOOKUP)
        if is_one_object(rows):
            day.work("merger", batches * 2 * prices.DAYS * rows * BYTES_PER_ROW / REWRITE_BYTES_S)
        return day

    def pieces(self, pipeline: str, rows: int, pieces: float, *, runs: int, by: str) -> Day:
        """Rows in so many segments or chunks."""
        one, other = self._found[pipeline][-2:]
        day = Day()
        for service in one["services"]:
            if not one["services"][service]["batches"]:
                continue
            per_run, per_piece = shares(one, other, service, by)
            day.add(service, per_run, runs, invocations=1)
            day.add(service, per_piece, pieces, invocations=1)
            day.work(service, SECONDS_PER_ROW[pipeline].get(service, 0.0) * rows)
        return day


def fixed() -> float:
    """Dollars a day of a stack that does nothing: pollers that ask, and five secrets."""
    return prices.IDLE_POLLS_A_DAY * prices.SQS_REQUEST + 5 * prices.SECRET_MONTH / prices.DAYS
