"""What a reader pays for appending: a table after many merges, beside the same rows just rewritten.

    python -m bench.merge.aged                          # 1,000,000 and 10,000,000 rows, 200 merges
    python -m bench.merge.aged --rows 1000000 --merges 50

Every fourth merge has events that come a day late. Leaves JSON and a Markdown table in ``bench/results``.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import machine
from bench.append_merge import LATENESS
from bench.harness import MIB, RESULTS
from bench.merge.bench import KINDS, cost, seen, step
from bench.merge.job import MERGE, SEED
from bench.merge.places import PLACES, STUB
from bench.merge.reader import ENGINES, QUESTIONS
from bench.merge.report import LIBRARIES
from bench.merge.work import Work, made
from bench.nyc_311.report import save, save_text, titled

SIZES = (1_000_000, 10_000_000)
REWRITTEN = ("pyarrow", "polars")
"""Those whose last merge writes everything anew, so that it is as if just written."""
CONTENDERS = ("ours: append", *REWRITTEN, "Delta Lake", "Iceberg")
MIXED = "mixed"
NOTE = (
    "Milliseconds of polars / of DuckDB on local copies of the files that a reader opens, medians over rounds; MiB as "
    "polars reads them from S3. What pyarrow and polars left was written whole by the last merge; Delta Lake and "
    "Iceberg were not compacted. Every table was compared, row for row, with what was put in."
)


def round_of(name: str, work: Work, rounds: int) -> dict[str, Any]:
    """Make a candidate's table and read it so many times."""
    new = work.batches[MIXED]
    earlier, last = (new[:-1], new[-1:]) if name in REWRITTEN else ((), new)
    with PLACES[STUB]() as place:
        step(place, name, SEED, [*work.base, *earlier])
        measured = cost(place, name, MERGE, last, 1)
        reads = [seen(place, name, work, [*work.base, *new]) for _ in range(rounds)]
    return {
        "rows": work.rows,
        "candidate": name,
        "files": reads[0]["files"],
        "size": reads[0]["reads"]["size"],
        "last_merges_s": statistics.median(measured["walls_s"][-10:]),
        "reads": [found["reads"] for found in reads],
    }


def middle(record: Mapping[str, Any], what: str, question: str) -> float:
    """The median of a question over the rounds."""
    values: list[float] = [reads[what][question] for reads in record["reads"]]
    return statistics.median(values)


def header() -> Sequence[str]:
    """What the columns are."""
    questions = [name.replace("_", " ") for name in QUESTIONS]
    asked = [text for name in questions for text in (f"{name} ms", "MiB")]
    return ["rows", "candidate", "files", "MiB", "last merges ms", *asked]


def cells(record: Mapping[str, Any]) -> Sequence[str]:
    """A record as text."""
    first = (record["rows"], record["files"], record["size"] / MIB, 1000 * record["last_merges_s"])
    shown = [f"{first[0]:,}", record["candidate"], f"{first[1]:,}", f"{first[2]:,.1f}", f"{first[3]:,.1f}"]
    for question in QUESTIONS:
        shown.append(" / ".join(f"{1000 * middle(record, engine, question):,.1f}" for engine in ENGINES))
        shown.append(f"{middle(record, 'bytes', question) / MIB:,.2f}")
    return shown


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="Reads tables that were merged into many times.")
    parser.add_argument("--rows", type=int, action="append", help="of the table; repeatable")
    parser.add_argument("--merges", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="of reading, each by a process of its own")
    parser.add_argument("--candidate", choices=CONTENDERS, action="append", help="only this one; repeatable")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    late = LATENESS[KINDS["late"]]
    records = []
    for rows in options.rows or SIZES:
        with TemporaryDirectory(prefix="bench-merge-rows-") as folder:
            shares = [late if number % 4 == 3 else 0.0 for number in range(options.merges)]  # noqa: PLR2004 - the fourth
            work = made(Path(folder), rows, {MIXED: shares})
            for name in options.candidate or CONTENDERS:
                records.append(round_of(name, work, options.rounds))
                sys.stderr.write(f"{rows:,} rows: {name} read\n")
    document = {
        "name": "merge_aged",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(LIBRARIES),
        "rounds": options.rounds,
        "units": {"merges": options.merges},
        "records": records,
    }
    page = titled(document, [header(), *map(cells, records)], NOTE)
    print(page)
    save(options.results / "merge_aged.json", document)
    save_text(options.results / "merge_aged.md", page)


if __name__ == "__main__":
    main()
