"""A thousand events into a table that is already large: ours, rewriting it all, and table formats that append.

    python -m bench.merge.bench                                    # everything, as published
    python -m bench.merge.bench --rows 100000 --lateness newer     # one size, one kind of new events
    python -m bench.merge.bench --place emulator                   # whole time, with S3 on the emulator

A round makes the table anew and merges several batches into it, one after the other, in one process; then the result is
compared with what was put in, and read. Each leaves JSON, a Markdown table and a picture in ``bench/results``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bench import PROJECT, harness
from bench.append_merge import LATENESS, NEW_ROWS, STEP, events
from bench.harness import RESULTS, Candidate
from bench.merge import reader, report
from bench.merge.job import COMPACT, FILES, MERGE, SEED, Job, arguments
from bench.merge.places import PLACES, STUB, Place

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
KINDS = {"newer": "all newer", "late": "1 % a day late"}
MODULES = {
    "ours: append": "bench.merge.ours",
    "ours: rewrite": "bench.merge.ours_rewrite",
    "polars": "bench.merge.peer_polars_eager",
    "polars, streaming": "bench.merge.peer_polars_streaming",
    "pyarrow": "bench.merge.peer_pyarrow",
    "DuckDB": "bench.merge.peer_duckdb",
    "Delta Lake": "bench.merge.peer_deltalake",
    "Iceberg": "bench.merge.peer_pyiceberg",
}
SORTED = frozenset(MODULES) - {"Delta Lake", "Iceberg"}
"""Candidates whose table is one sorted file."""


class WrongResultError(Exception):
    """What a candidate left is not what was put in."""


@dataclass(frozen=True, slots=True)
class Work:
    """One size and kind: local files, and what must be in the table at the end."""

    rows: int
    kind: str
    base: Sequence[Path]
    new: Sequence[Path]
    digest: str
    day: str
    participant: str


def made(folder: Path, rows: int, kind: str, merges: int) -> Work:
    """Write the rows of a table and of the batches that are merged into it."""
    base = [
        written(folder / f"base-{first}.parquet", events(first, min(STEP, rows - first), 0))
        for first in range(0, rows, STEP)
    ]
    firsts = range(rows, rows + merges * NEW_ROWS, NEW_ROWS)
    late = LATENESS[KINDS[kind]]
    new = [written(folder / f"new-{first}.parquet", events(first, NEW_ROWS, late)) for first in firsts]
    return Work(
        rows=rows,
        kind=kind,
        base=base,
        new=new,
        digest=reader.digest(pl.read_parquet([*base, *new])),
        day=(EPOCH + timedelta(seconds=rows // 2)).date().isoformat(),
        participant=str(pl.read_parquet(base[0], columns=[reader.PARTICIPANT], n_rows=1).item()),
    )


def written(path: Path, rows: pa.Table) -> Path:
    """A local Parquet file."""
    pq.write_table(rows, path)
    return path


def contend(place: Place, name: str, work: Work, number: int) -> list[Mapping[str, Any]]:
    """One candidate's round: a record of its merges, and one of its compaction if it has any.

    Raises:
        WrongResultError: rows were lost, doubled or changed, or are not in order where they should be.
    """
    about: dict[str, Any] = {"candidate": name, "rows": work.rows, "kind": work.kind, "round": number}
    step(place, name, SEED, work.base)
    found: list[Mapping[str, Any]] = [
        {**about, **cost(place, name, MERGE, work.new, number), **seen(place, name, work)}
    ]
    if name not in SORTED:
        about["candidate"] = f"{name}: compaction"
        found.append({**about, **cost(place, name, COMPACT, (), number), **seen(place, name, work)})
    return found


def cost(place: Place, name: str, kind: str, rows: Sequence[Path], number: int) -> Mapping[str, Any]:
    """What a step costs; bytes and requests are those of one merge."""
    before = place.moved()
    measured = harness.measure(Candidate(name, command(place, name, kind, rows)), number)
    times = max(len(rows), 1)
    return {
        "wall_s": statistics.median(measured.output["wall_s"]),
        "cpu_s": statistics.median(measured.output["cpu_s"]),
        "walls_s": measured.output["wall_s"],
        "peak_rss_bytes": measured.peak_rss_bytes,
        "load": measured.load,
        **{what: (after - before[what]) / times for what, after in place.moved().items()},
    }


def seen(place: Place, name: str, work: Work) -> Mapping[str, Any]:
    """What a reader finds, compared with what was put in."""
    listing = place.folder / "files.json"
    files = step(place, name, FILES, ())["files"]
    listing.write_text(json.dumps(files), encoding="utf-8")
    asked = ["--files", str(listing), "--day", work.day, "--participant", work.participant]
    stub = [] if place.stub_url is None else ["--stub", place.stub_url]
    answers = said([sys.executable, "-m", "bench.merge.reader", *asked, *stub])
    if answers["digest"] != work.digest or (name in SORTED and not answers["sorted"]):
        raise WrongResultError(f"{name}, {work.rows:,} rows, {work.kind}: {answers}, wanted {work.digest}")
    return {"files": len(files), "reads": answers, "sorted": answers["sorted"]}


def step(place: Place, name: str, kind: str, rows: Sequence[Path]) -> Mapping[str, Any]:
    """Have a candidate do something unmeasured; what it says."""
    return said(command(place, name, kind, rows))


def command(place: Place, name: str, kind: str, rows: Sequence[Path]) -> list[str]:
    """How a candidate is started."""
    return [sys.executable, "-m", MODULES[name], *arguments(Job(step=kind, rows=rows, state=place.folder))]


def said(argv: Sequence[str]) -> Mapping[str, Any]:
    """The JSON on the last line of a program's output.

    Raises:
        harness.FailedCandidateError: it failed; its own message is on stderr.
    """
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, cwd=PROJECT)
    if done.returncode:
        raise harness.FailedCandidateError(f"{argv[2]} exited with {done.returncode}")
    found: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="Merges into large tables: ours, rewriting, and table formats.")
    parser.add_argument("--rows", type=int, action="append", help="of the table; repeatable")
    parser.add_argument("--lateness", choices=tuple(KINDS), action="append", help="only this one; repeatable")
    parser.add_argument("--place", choices=tuple(PLACES), default=STUB)
    parser.add_argument("--candidate", choices=tuple(MODULES), action="append", help="only this one; repeatable")
    parser.add_argument("--merges", type=int, default=5, help="batches merged in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    records: list[Mapping[str, Any]] = []
    for rows in options.rows or SIZES:
        for kind in options.lateness or KINDS:
            with TemporaryDirectory(prefix="bench-merge-rows-") as folder:
                work = made(Path(folder), rows, kind, options.merges)
                for number in range(1, options.rounds + 1):
                    for name in options.candidate or MODULES:
                        with PLACES[options.place]() as place:
                            records += contend(place, name, work, number)
                        sys.stderr.write(f"{rows:,} {kind}, round {number}: {name} {records[-1]['wall_s']:.3f} s\n")
    report.write(f"merge_{options.place}", records, rounds=options.rounds, results=options.results)


if __name__ == "__main__":
    main()
