"""Judging visit events on one core: the fast path next to Pydantic row by row into columns.

    python -m bench.validation.bench --rows 1000000 --rounds 3

Both get the same list of documents and give the same verdicts, which is checked on all rows. They take turns within
one process, so the ratio of the medians says more than either figure. Pydantic works in the same blocks as ours:
rows held as Python objects all at once would only slow it down.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
os.environ["POLARS_MAX_THREADS"] = "1"  # read once, when polars is imported
if not __package__:  # run by path
    sys.path.insert(0, str(PROJECT))

import polars as pl  # noqa: E402 - after the number of its threads is settled

from bench import machine  # noqa: E402 - after the path is settled
from bench.validation.rows import documents  # noqa: E402 - same
from contracts.records import VisitEvent  # noqa: E402 - same
from services.validator.core.records import BLOCK_ROWS, SCHEMAS, Judged, judge, judge_by_model  # noqa: E402 - same

RESULT = PROJECT / "bench" / "results" / "validation.json"
PROFILES = ("usual", "producers", "varied")
LIBRARIES = ("polars", "pydantic", "pydantic-core")

Way = Callable[[Sequence[bytes]], Judged]


class DifferentVerdictsError(Exception):
    """The two ways do not agree on a document."""


def by_model(raw: Sequence[bytes]) -> Judged:
    """Pydantic row by row, in blocks."""
    frames, indexes, findings = [], [], []
    for start in range(0, len(raw), BLOCK_ROWS):
        judged = judge_by_model(raw[start : start + BLOCK_ROWS], VisitEvent, SCHEMAS["visit_event"])
        frames.append(judged.frame)
        indexes.append(judged.indexes + start)
        findings += [replace(found, index=start + found.index) for found in judged.findings]
    return Judged(pl.concat(frames), pl.concat(indexes), findings)


def take_turns(ways: Mapping[str, Way], raw: Sequence[bytes], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Wall and processor seconds of each round of each way."""
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            way(raw)
            seconds[name].append({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu})
    return seconds


def check(ours: Judged, theirs: Judged) -> None:
    """Rows, positions, types, and each finding with its places.

    Raises:
        DifferentVerdictsError: they differ.
    """
    places = [
        [(found.index, found.reason, [(e["type"], e["loc"]) for e in found.errors]) for found in judged.findings]
        for judged in (ours, theirs)
    ]
    if ours.frame.schema != theirs.frame.schema or not ours.frame.equals(theirs.frame):
        raise DifferentVerdictsError("the rows differ")
    if not ours.indexes.equals(theirs.indexes) or places[0] != places[1]:
        raise DifferentVerdictsError("the positions or the findings differ")


def compare(profile: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one profile and print its line."""
    raw = documents(options.rows, profile, options.seed)
    ours = judge(raw)
    check(ours, by_model(raw))
    findings = len(ours.findings)
    del ours
    seconds = take_turns({"ours": judge, "pydantic": by_model}, raw, options.rounds)
    medians = {
        name: {key: statistics.median(each[key] for each in runs) for key in ("wall_s", "cpu_s")}
        for name, runs in seconds.items()
    }
    rates = {name: round(len(raw) / median["wall_s"]) for name, median in medians.items()}
    ratios = {key: round(medians["pydantic"][key] / medians["ours"][key], 2) for key in ("wall_s", "cpu_s")}
    size = round(sum(map(len, raw)) / len(raw), 1)
    print(
        f"{profile:10} {len(raw):>9,} rows of {size} bytes, {findings:,} bad: "
        f"ours {rates['ours']:>9,} rows/s, Pydantic {rates['pydantic']:>8,} rows/s, "
        f"ratio {ratios['wall_s']:.2f} (processor time {ratios['cpu_s']:.2f})",
        flush=True,
    )
    return {
        "rows": len(raw),
        "bytes_per_row": size,
        "findings": findings,
        "rows_per_s": rates,
        "ratio": ratios["wall_s"],
        "cpu_ratio": ratios["cpu_s"],
        "medians": medians,
        "measurements": seconds,
    }


def main() -> None:
    """Compare all profiles on one core and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=311)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES)
    options = parser.parse_args()
    described = machine.describe(LIBRARIES)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(described))
    results = {profile: compare(profile, options) for profile in options.profiles}
    document = {
        "name": "validation",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described | {"load": os.getloadavg()[0]},
        "cores_used": 1,
        "rounds": options.rounds,
        "seed": options.seed,
        "profiles": results,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
