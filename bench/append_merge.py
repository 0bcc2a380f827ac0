"""A thousand rows into a large file: appended, and rewritten whole. The client's work, without the network.

    python -m bench.append_merge --rows 1000000
    python -m bench.append_merge --rows 1000000 --shape nyc_311

Service requests have keys of their own, so what is timed there begins with asking the file for the keys it holds.

The store is one local file that is read as it is asked for and never written back, so what is timed is parsing,
merging and encoding; a store adds the time of 5 or 6 requests to an append, and that of the whole content, twice, to a
rewrite. Each contender is a process of its own.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from bench import PROJECT
from bench.append_requests import growing_requests, requests
from bench.append_store import LocalStore, NoHeads
from contracts.pipelines import Pipeline
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Append
from services.merger.adapters.keys import S3TableKeys
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.spans import Reading
from services.merger.adapters.tables import schema_of
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import MergeStrategy
from services.runtime.checkpoints import Checkpoints
from services.runtime.declarations import load_pipelines
from services.runtime.multipart import MultipartStore
from services.runtime.objects import ObjectStore
from services.runtime.telemetry import configure_logging

PIPELINE = load_pipelines(PROJECT / "pipelines")["visit_events"]
AT = Destination(bucket="checkpoints", key="events.parquet")
NEW_ROWS = 1_000
STEP = 1_000_000
LATENESS: Mapping[str, float] = {"all newer": 0.0, "1 % a day late": 0.01}


def events(first: int, number: int, late: float) -> pa.Table:
    """Events a second apart; of ``late`` of them the moment is a day earlier."""
    columns = ", ".join(f"{expression} AS {name}" for name, expression in _COLUMNS.items())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f"SELECT {columns} FROM range($first, $first + $number) AS t(i) ORDER BY i"  # noqa: S608 - our own text
        table: pa.Table = connection.sql(
            query, params={"first": first, "number": number, "late": late}
        ).to_arrow_table()
    return table.select(schema_of(PIPELINE.output_columns).names).cast(schema_of(PIPELINE.output_columns))


_COLUMNS = {
    "action": "CASE i % 3 WHEN 0 THEN 'submit' WHEN 1 THEN 'pass-qc' ELSE 'delete' END",
    "study": "'adrc'",
    "pipeline_adcid": "(hash(i) % 40)::INTEGER",
    "project_label": "'ingest-form-' || hash(i + 1) % 5",
    "center_label": "'center-' || hash(i) % 40",
    "gear_name": "'form-qc-checker'",
    "ptid": "'NACC' || hash(i + 2) % 100000",
    "visit_date": "(DATE '2024-01-01' + (i // 86400)::INTEGER)::DATE",
    "visit_number": "lpad((i % 12)::VARCHAR, 2, '0')",
    "datatype": "'form'",
    "module": "CASE WHEN i % 4 = 0 THEN NULL ELSE 'UDS' END",
    "packet": "CASE WHEN i % 4 = 0 THEN NULL ELSE 'I' END",
    "timestamp": (
        "to_timestamp(1704067200 + i - CASE WHEN (i * 7919 % 1000) / 1000 < $late THEN 86400 ELSE 0 END"
        " + (hash(i + 3) % 1000) / 1000.0)"
    ),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows of one kind: ``make`` gives so many from a number on, of which a share is a day late."""

    pipeline: Pipeline
    at: Destination
    make: Callable[[int, int, float], pa.Table]
    step: int = STEP


REQUESTS = load_pipelines(PROJECT / "pipelines")["nyc_311"]
MONTH = Destination(bucket="processed", key="processed/year=2026/month=01/data_2026-01-28.parquet")
SHAPES: Mapping[str, Shape] = {
    "visit_events": Shape(PIPELINE, AT, events),
    "nyc_311": Shape(REQUESTS, MONTH, requests, 100_000),
    "nyc_311_growing": Shape(REQUESTS, MONTH, growing_requests, 100_000),
}
"""``nyc_311`` has keys in no order, so that every row group may hold any; ``nyc_311_growing`` has them in order."""


async def merge(strategy: MergeStrategy, keys: S3TableKeys, store: LocalStore, shape: Shape, rows: pa.Table) -> None:
    """One merge, to the end; where rows have keys, those that are there are asked for and remembered."""
    info, pipeline = store.info if store.info.size else None, shape.pipeline
    if pipeline.row_key is not None:
        await _require_new(keys, shape, rows.column(pipeline.row_key))
    prepared = await strategy.prepare(shape.at, pipeline, info, rows, "base")
    written = await prepared.put({STAMP_COMMIT: "base"})
    if prepared.at_hand is not None:
        await keys.remember(pipeline, shape.at.bucket, written, prepared.at_hand)


async def _require_new(keys: S3TableKeys, shape: Shape, wanted: pa.ChunkedArray) -> None:
    present = await keys.among(shape.pipeline, "", shape.at.bucket, wanted)
    taken = pa.chunked_array([chunk for each in present for chunk in each.chunks], pa.string())
    if pc.any(pc.is_in(wanted.combine_chunks(), value_set=taken.combine_chunks())).as_py():
        raise RuntimeError("the rows to merge are in the file already")


def contender(store: LocalStore, name: str) -> tuple[MergeStrategy, S3TableKeys]:
    """A way to merge and to ask for keys: rewriting reads files whole for both."""
    objects = cast("ObjectStore", store)
    reading = Reading(whole=1 << 50) if name == "rewrite" else Reading()
    keys = S3TableKeys(objects, cast("Checkpoints", NoHeads()), reading=reading)
    stores = Stores(objects, cast("MultipartStore", store))
    return (Rewrite(objects) if name == "rewrite" else Append(stores)), keys


async def grow(path: Path, shape: Shape, rows: int) -> None:
    """Make the file, by appends."""
    for first in range(0, rows, shape.step):
        store = LocalStore(path, shape.at.key, keeps=True)
        new = shape.make(first, min(shape.step, rows - first), 0)
        strategy, _ = contender(store, "append")
        prepared = await strategy.prepare(shape.at, shape.pipeline, store.info if first else None, new, "base")
        await prepared.put({STAMP_COMMIT: "base"})


async def time_merges(path: Path, shape: Shape, rows: int, name: str, lateness: str, rounds: int) -> dict[str, object]:
    """Median of several merges into the same content, each by a merger that knows nothing yet; what one moved."""
    new = shape.make(rows, NEW_ROWS, LATENESS[lateness])
    wall, cpu = [], []
    for _ in range(rounds):
        store = LocalStore(path, shape.at.key, keeps=False)
        started, busy = time.perf_counter(), time.process_time()
        await merge(*contender(store, name), store, shape, new)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    times = {"wall_ms": 1000 * statistics.median(wall), "cpu_ms": 1000 * statistics.median(cpu)}
    return {**times, "moved": store.moved, "requests": store.requests, "size": store.info.size}


def contend(arguments: Sequence[str]) -> dict[str, object]:
    """Run a contender as a process; what it cost."""
    command = [sys.executable, "-m", "bench.measure", sys.executable, "-m", "bench.append_merge", *arguments]
    cost = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=PROJECT).stdout)
    return {"peak_mib": cost["peak_rss_bytes"] / (1 << 20), **json.loads(cost["output"])}


def main() -> None:
    """Grow a checkpoint, and merge into it one way and the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=STEP)
    parser.add_argument("--shape", choices=SHAPES, default="visit_events")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--strategy", choices=["append", "rewrite"])
    parser.add_argument("--lateness", choices=LATENESS)
    options = parser.parse_args()
    configure_logging("bench", "ERROR")
    shape = SHAPES[options.shape]
    if options.strategy is not None:
        merges = time_merges(options.file, shape, options.rows, options.strategy, options.lateness, options.rounds)
        print(json.dumps(asyncio.run(merges)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.parquet"
        path.touch()
        asyncio.run(grow(path, shape, options.rows))
        for lateness in LATENESS:
            for strategy, rounds in (("append", options.rounds), ("rewrite", min(3, options.rounds))):
                chosen = ["--file", str(path), "--rows", str(options.rows), "--rounds", str(rounds)]
                chosen += ["--shape", options.shape]
                cost = contend([*chosen, "--strategy", strategy, "--lateness", lateness])
                print(f"{options.rows:>12,} rows  {lateness:<15} {strategy:<8} {json.dumps(cost)}", flush=True)


if __name__ == "__main__":
    main()
