"""A thousand events into a table that is already large: ours, rewriting it all, and table formats that append.

    python -m bench.merge.bench                                    # everything, as published
    python -m bench.merge.bench --rows 100000 --lateness newer     # one size, one kind of new events
    python -m bench.merge.bench --place emulator                   # whole time, with S3 on the emulator

A round makes the table and merges several batches of each kind into it, one after the other; then the result is
compared with what was put in, and read. Each leaves JSON, a Markdown table and a picture in ``bench/results``.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import PROJECT, harness
from bench.append_merge import LATENESS
from bench.harness import RESULTS, Candidate
from bench.merge import report
from bench.merge.job import COMPACT, FILES, MERGE, ONE_FILE, SEED, Job, arguments
from bench.merge.places import PLACES, STUB, Place
from bench.merge.work import Work, made

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
LARGE = 10_000_000
"""From so many rows on there is one round."""
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
UNSORTED = frozenset({"Delta Lake", "Iceberg"})
"""Candidates whose table is many files, until it is compacted, in no order."""
REWRITING = frozenset(MODULES) - UNSORTED - {"ours: append"}
FEWER_FROM = 1_000_000
FEWER = 2
"""Merges of those that rewrite, from so many rows on: each takes seconds."""


class WrongResultError(Exception):
    """What a candidate left is not what was put in."""


def contend(place: Place, name: str, work: Work, number: int) -> list[Mapping[str, Any]]:
    """One candidate's round: a record of its merges of each kind, and one of its compaction if it has any.

    Raises:
        WrongResultError: rows were lost, doubled or changed, or are not in order where they should be.
    """
    step(place, name, SEED, work.base)
    merged = list(work.base)
    found: list[Mapping[str, Any]] = []
    for kind, batches in work.batches.items():
        new = batches[:FEWER] if name in REWRITING and work.rows >= FEWER_FROM else batches
        merged += new
        about: dict[str, Any] = {"candidate": name, "rows": work.rows, "kind": kind, "round": number}
        found.append({**about, **cost(place, name, MERGE, new, number), **seen(place, name, work, merged)})
        if name in UNSORTED:
            about["candidate"] = f"{name}: compaction"
            found.append({**about, **cost(place, name, COMPACT, (), number), **seen(place, name, work, merged)})
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


def seen(place: Place, name: str, work: Work, merged: Iterable[Path]) -> Mapping[str, Any]:
    """What a reader finds, compared with what was put in."""
    listing = place.folder / "files.json"
    files = step(place, name, FILES, ())["files"] if name in UNSORTED else [ONE_FILE]
    listing.write_text(json.dumps(files), encoding="utf-8")
    asked = ["--files", str(listing), "--day", work.day, "--participant", work.participant]
    stub = [] if place.stub_url is None else ["--stub", place.stub_url]
    answers = said([sys.executable, "-m", "bench.merge.reader", *asked, *stub])
    wanted = work.wanted(merged)
    if answers["digest"] != wanted or not (answers["sorted"] or name in UNSORTED):
        raise WrongResultError(f"{name}, {work.rows:,} rows: {answers}, wanted {wanted}")
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
    parser.add_argument("--rounds", type=int, default=2, help="one alone from 10,000,000 rows on")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    records: list[Mapping[str, Any]] = []
    shares = {KINDS[kind]: [LATENESS[KINDS[kind]]] * options.merges for kind in options.lateness or KINDS}
    for rows in options.rows or SIZES:
        with TemporaryDirectory(prefix="bench-merge-rows-") as folder:
            work = made(Path(folder), rows, shares)
            for number in range(1, (1 if rows >= LARGE else options.rounds) + 1):
                for name in options.candidate or MODULES:
                    with PLACES[options.place]() as place:
                        records += contend(place, name, work, number)
                    sys.stderr.write(f"{rows:,} rows, round {number}: {name} {records[-1]['wall_s']:.3f} s\n")
    report.write(f"merge_{options.place}", records, rounds=options.rounds, results=options.results)


if __name__ == "__main__":
    main()
