"""A thousand events into a large checkpoint: appended, and rewritten whole. The client's work, without the network.

    python -m bench.append_merge --rows 1000000

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa

from bench import PROJECT
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Append
from services.merger.adapters.rewrite import Rewrite
from services.merger.adapters.tables import schema_of
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import MergeStrategy, Prepared
from services.runtime.declarations import load_pipelines
from services.runtime.multipart import MultipartStore, Part, Upload
from services.runtime.objects import ObjectInfo, ObjectStore, StoredObject
from services.runtime.telemetry import configure_logging

PIPELINE = load_pipelines(PROJECT / "pipelines")["visit_events"]
AT = Destination(bucket="checkpoints", key="events.parquet")
NEW_ROWS = 1_000
STEP = 1_000_000
LATENESS: Mapping[str, float] = {"all newer": 0.0, "1 % a day late": 0.01}


class LocalStore:
    """What merges use of ``ObjectStore`` and ``MultipartStore``, over one file; ``keeps`` what is put or not."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self._path = path
        self._keeps = keeps
        self.moved: dict[str, int] = {}
        self._from = 0
        self._metadata = {STAMP_COMMIT: "base"}

    @property
    def info(self) -> ObjectInfo:
        """What a HEAD says."""
        return ObjectInfo(AT.key, "etag", self._path.stat().st_size, metadata=self._metadata)

    async def get(self, *_: str, version_id: str | None = None) -> StoredObject:
        """The whole object."""
        del version_id
        return StoredObject(await self.read_range("", "", 0, self.info.size), self.info)

    async def read_range(self, _: str, __: str, start: int, end: int, **___: object) -> bytes:
        """A range."""
        self._count("read", end - start)
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    async def put(self, *place: str, **_: object) -> ObjectInfo:
        """A whole object."""
        self._from = 0
        return await self._write(cast("bytes", place[2]))

    async def begin(self, bucket: str, key: str, **_: object) -> Upload:
        """An upload."""
        return Upload(bucket, key, "upload")

    async def copy_part(self, _: Upload, number: int, __: ObjectInfo, start: int, end: int) -> Part:
        """A copy, which costs the client nothing."""
        self._count("copied", end - start)
        self._from = end
        return Part(number, "", end - start)

    async def put_part(self, _: Upload, number: int, body: bytes) -> Part:
        """A part that is sent."""
        await self._write(body)
        return Part(number, "", len(body))

    async def complete(self, *_: object, **__: object) -> ObjectInfo:
        """The end."""
        return self.info

    async def _write(self, body: bytes) -> ObjectInfo:
        self._count("sent", len(body))
        if self._keeps:
            with self._path.open("r+b" if self._path.exists() else "wb") as file:
                file.seek(self._from)
                file.write(body)
                file.truncate()
                self._from = file.tell()
        return self.info

    def _count(self, what: str, size: int) -> None:
        self.moved[what] = self.moved.get(what, 0) + size


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


async def merge(strategy: MergeStrategy, store: LocalStore, rows: pa.Table) -> Prepared:
    """One merge, to the end."""
    info = store.info if store.info.size else None
    prepared = await strategy.prepare(AT, PIPELINE, info, rows, "base")
    await prepared.put({STAMP_COMMIT: "base"})
    return prepared


def strategy_over(store: LocalStore, name: str) -> MergeStrategy:
    """A contender."""
    objects = cast("ObjectStore", store)
    return Rewrite(objects) if name == "rewrite" else Append(Stores(objects, cast("MultipartStore", store)))


async def grow(path: Path, rows: int) -> None:
    """Make the checkpoint, by appends."""
    for first in range(0, rows, STEP):
        store = LocalStore(path, keeps=True)
        await merge(strategy_over(store, "append"), store, events(first, min(STEP, rows - first), 0))


async def time_merges(path: Path, rows: int, name: str, lateness: str, rounds: int) -> dict[str, object]:
    """Median of several merges into the same content, and the bytes one moved."""
    new = events(rows, NEW_ROWS, LATENESS[lateness])
    wall, cpu = [], []
    for _ in range(rounds):
        store = LocalStore(path, keeps=False)
        started, busy = time.perf_counter(), time.process_time()
        await merge(strategy_over(store, name), store, new)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    times = {"wall_ms": 1000 * statistics.median(wall), "cpu_ms": 1000 * statistics.median(cpu)}
    return {**times, "moved": store.moved, "size": store.info.size}


def contend(arguments: Sequence[str]) -> dict[str, object]:
    """Run a contender as a process; what it cost."""
    command = [sys.executable, "-m", "bench.measure", sys.executable, "-m", "bench.append_merge", *arguments]
    cost = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=PROJECT).stdout)
    return {"peak_mib": cost["peak_rss_bytes"] / (1 << 20), **json.loads(cost["output"])}


def main() -> None:
    """Grow a checkpoint, and merge into it one way and the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=STEP)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--strategy", choices=["append", "rewrite"])
    parser.add_argument("--lateness", choices=LATENESS)
    options = parser.parse_args()
    configure_logging("bench", "ERROR")
    if options.strategy is not None:
        print(
            json.dumps(
                asyncio.run(time_merges(options.file, options.rows, options.strategy, options.lateness, options.rounds))
            )
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        path.touch()
        asyncio.run(grow(path, options.rows))
        for lateness in LATENESS:
            for strategy, rounds in (("append", options.rounds), ("rewrite", 3)):
                chosen = ["--file", str(path), "--rows", str(options.rows), "--rounds", str(rounds)]
                cost = contend([*chosen, "--strategy", strategy, "--lateness", lateness])
                print(f"{options.rows:>12,} rows  {lateness:<15} {strategy:<8} {json.dumps(cost)}")


if __name__ == "__main__":
    main()
