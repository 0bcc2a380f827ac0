"""Results as JSON, a Markdown page and a picture of cost against size."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.append_merge import NEW_ROWS
from bench.harness import MIB
from bench.merge import picture
from bench.merge.reader import ENGINES, QUESTIONS
from bench.nyc_311.report import save, save_text, titled

LIBRARIES = ("deltalake", "duckdb", "polars", "pyarrow", "pyiceberg")
NOTE = (
    "Each line is the median over rounds of the median merge of a round; start, imports and the reading of the new "
    "events are left out. A compaction is one, after all merges of a round, and the first thing its process does. "
    "Memory is the most that the whole process has had. Bytes are those of one merge, as S3 sees them; a part that S3 "
    "copies itself is none. Files and reads are those of a reader after the merges: milliseconds of polars / of DuckDB "
    "on local copies, MiB as polars reads them from S3. Tables of 10,000,000 rows have one round; from 1,000,000 on, "
    "candidates that rewrite merge two batches instead of five. "
    "Every table was compared, row for row, with what was put in."
)
HEADER = (
    "rows", "new events", "candidate", "ms", "CPU ms", "peak MiB", "read MiB", "sent MiB", "requests", "files",
    "sorted", "count ms", "MiB", "one day ms", "MiB", "one participant ms", "MiB", "all ms", "MiB",
)  # fmt: skip

Record = Mapping[str, Any]


def write(name: str, records: Sequence[Record], *, rounds: int, results: Path) -> None:
    """Print the table and write ``NAME.json``, ``NAME.md`` and ``NAME.svg``."""
    about = machine.describe(LIBRARIES)
    about["load"] = statistics.median(record["load"] for record in records)
    found = lines(records)
    document = {
        "name": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": about,
        "rounds": rounds,
        "units": {"new events a merge": NEW_ROWS},
        "lines": found,
        "records": list(records),
    }
    page = titled(document, [HEADER, *map(cells, found)], NOTE)
    print(page)
    save(results / f"{name}.json", document)
    save_text(results / f"{name}.md", page)
    picture.write(results / f"{name}.svg", document)


def lines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One for each size, kind and candidate: medians over the rounds."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record["rows"], record["kind"], record["candidate"]), []).append(record)
    return [
        {
            "rows": rows,
            "kind": kind,
            "candidate": candidate,
            **{name: middle(group, pick) for name, pick in QUANTITIES.items()},
            "files": group[0]["files"],
            "sorted": group[0]["sorted"],
        }
        for (rows, kind, candidate), group in groups.items()
    ]


def middle(group: Sequence[Record], pick: Callable[[Record], float | None]) -> float | None:
    """The median of a quantity, where it was counted."""
    values = [value for value in map(pick, group) if value is not None]
    return statistics.median(values) if values else None


def _read(what: str, question: str) -> Callable[[Record], float | None]:
    return lambda record: record["reads"][what][question]


QUANTITIES: Mapping[str, Callable[[Record], float | None]] = {
    "wall_s": lambda record: record["wall_s"],
    "cpu_s": lambda record: record["cpu_s"],
    "peak_rss_bytes": lambda record: record["peak_rss_bytes"],
    "read_bytes": lambda record: record.get("sent_bytes"),
    "sent_bytes": lambda record: record.get("received_bytes"),
    "requests": lambda record: record.get("requests"),
    **{f"{question}_{what}": _read(what, question) for question in QUESTIONS for what in ("bytes", *ENGINES)},
}


def both(line: Mapping[str, Any], question: str) -> str:
    """Milliseconds of each engine."""
    return " / ".join(f"{1000 * line[f'{question}_{engine}']:,.1f}" for engine in ENGINES)


def cells(line: Mapping[str, Any]) -> Sequence[str]:
    """A line as text."""
    counted = line["requests"] is not None

    def size(quantity: str) -> str:
        return f"{line[quantity] / MIB:,.2f}" if counted else "-"

    return (
        f"{line['rows']:,}",
        line["kind"],
        line["candidate"],
        f"{1000 * line['wall_s']:,.1f}",
        f"{1000 * line['cpu_s']:,.1f}",
        f"{line['peak_rss_bytes'] / MIB:,.0f}",
        size("read_bytes"),
        size("sent_bytes"),
        f"{line['requests']:,.1f}" if counted else "-",
        f"{line['files']:,}",
        "yes" if line["sorted"] else "no",
        *(cell for question in QUESTIONS for cell in (both(line, question), size(f"{question}_bytes"))),
    )
