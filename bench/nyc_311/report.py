"""Results as files: JSON with everything, a Markdown table of the medians, a picture."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import harness, machine, plot
from bench.harness import MIB, RESULTS, Measurement
from bench.nyc_311 import picture
from bench.nyc_311.exactness import Tally

SPEED_NOTE = (
    "Wall and CPU time are those of the work: of a peer from after its imports to its end, of ours from sending the "
    "request to the run's success in the ledger, its workers having waited for messages. Reading is from the first "
    "page that is asked for to the last. The server's busy seconds are in the wall time of all. The emulator stands "
    "for S3 and, for ours alone, for SQS, SNS and DynamoDB. Memory is the peak of each process from its start."
)
EXACTNESS_NOTE = (
    "Three daily runs: the initial load, killed while it writes and run again; a day later one in which rows are "
    "published and closed while pages are read; another day later one that is killed while pages are read and run "
    "again. Before the second and the third run, new rows appear, and late ones among those that were there already. "
    "Counted by unique key in the Parquet output, without any clean-up afterwards."
)
LIBRARIES = ("aiobotocore", "aiohttp", "boto3", "dlt", "pandas", "polars", "pyarrow", "requests", "s3fs")


def write_speed(
    name: str,
    measurements: Sequence[Measurement],
    *,
    units: Mapping[str, int],
    rounds: int,
    reference: str,
    results: Path = RESULTS,
) -> None:
    """Print the table and write ``NAME.json``, ``NAME.md`` and ``NAME.svg``."""
    summary = harness.summarise(measurements, reference)
    document = described(name, measurements) | {
        "units": dict(units),
        "rounds": rounds,
        "reference": reference,
        "summary": summary,
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    harness.show(name, summary, units, document["machine"])
    table = speed_table(measurements, amount=next(iter(units.values())), reference=reference)
    save(results / f"{name}.json", document)
    save_text(results / f"{name}.md", titled(document, table, SPEED_NOTE))
    plot.write(results / f"{name}.svg", document)


def described(name: str, measurements: Sequence[Measurement] = ()) -> dict[str, Any]:
    """What every result begins with: when, and on what machine."""
    about = machine.describe(LIBRARIES)
    if measurements:
        about["load"] = statistics.median(measurement.load for measurement in measurements)
    return {"name": name, "measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about}


def speed_table(measurements: Sequence[Measurement], *, amount: int, reference: str) -> list[Sequence[str]]:
    """Medians of each candidate; its slowest and fastest run stand behind the wall time."""
    header = (
        "candidate", "wall s", "x", "rows/s", "reading s", "server busy s", "CPU s", "emulator CPU s", "peak MiB",
        "lost", "doubled",
    )  # fmt: skip
    base = statistics.median(m.wall_s for m in measurements if m.candidate == reference)
    lines: list[Sequence[str]] = [header]
    for name in dict.fromkeys(m.candidate for m in measurements):
        runs = [m for m in measurements if m.candidate == name]
        wall = statistics.median(m.wall_s for m in runs)
        slowest, fastest = max(m.wall_s for m in runs), min(m.wall_s for m in runs)
        lines.append((
            name,
            f"{wall:.1f} ({fastest:.1f} to {slowest:.1f})",
            f"{wall / base:.2f}",
            f"{amount / wall:,.0f}",
            f"{median_of(runs, 'reading_s'):.1f}",
            f"{median_of(runs, 'server_busy_s'):.1f}",
            f"{statistics.median(m.cpu_s for m in runs):.1f}",
            f"{median_of(runs, 'emulator_cpu_s'):.1f}",
            memory(runs),
            f"{max(m.observed['lost'] for m in runs):,}",
            f"{max(m.observed['doubled'] for m in runs):,}",
        ))  # fmt: skip
    return lines


def median_of(runs: Sequence[Measurement], quantity: str) -> float:
    """The median of something that was observed."""
    return statistics.median(float(run.observed[quantity]) for run in runs)


def memory(runs: Sequence[Measurement]) -> str:
    """The peak of all processes together and, where there are several, of each."""
    total = f"{statistics.median(run.peak_rss_bytes for run in runs) / MIB:,.0f}"
    names = runs[0].observed["peak_rss_bytes"]
    if len(names) == 1:
        return total
    parts = [
        f"{name} {statistics.median(run.observed['peak_rss_bytes'][name] for run in runs) / MIB:,.0f}" for name in names
    ]
    return f"{total} ({', '.join(parts)})"


def titled(document: Mapping[str, Any], table: Sequence[Sequence[str]], note: str) -> str:
    """A Markdown page: what was measured on what, the table, and how to read it."""
    about = document["machine"]
    work = ", ".join(f"{count:,} {unit}" for unit, count in document["units"].items())
    versions = ", ".join(f"{library} {version}" for library, version in about["libraries"].items())
    load = f", load {about['load']:.1f}" if "load" in about else ""
    place = f"{about['cores']} cores {about['processor']}, {about['memory_gib']} GiB, {about['system']}"
    return "\n".join([
        f"# {document['name']}",
        "",
        f"{work}; {document['rounds']} rounds, {document['measured_at']}.",
        f"{place}, Python {about['python']}{load}; {versions}.",
        "",
        *markdown(table),
        "",
        note,
        "",
    ])  # fmt: skip


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is text and whose others are figures."""
    header, *rows = table
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def save(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON."""
    save_text(path, json.dumps(document, indent=2) + "\n")


def save_text(path: Path, text: str) -> None:
    """Write a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_exactness(
    name: str, tallies: Mapping[str, Sequence[Tally]], *, units: Mapping[str, int], results: Path = RESULTS
) -> None:
    """Print the table and write ``NAME.json``, ``NAME.md`` and ``NAME.svg``."""
    summary = {
        candidate: {
            quantity: statistics.median(getattr(tally, quantity) for tally in rounds)
            for quantity in ("required", "lost", "doubled", "foreign")
        }
        for candidate, rounds in tallies.items()
    }
    document = described(name) | {
        "units": dict(units),
        "rounds": max(map(len, tallies.values())),
        "summary": summary,
        "rounds_of": {candidate: [asdict(tally) for tally in rounds] for candidate, rounds in tallies.items()},
    }
    page = titled(document, exactness_table(tallies), EXACTNESS_NOTE)
    print(page)
    save(results / f"{name}.json", document)
    save_text(results / f"{name}.md", page)
    picture.write(results / f"{name}.svg", document)


def exactness_table(tallies: Mapping[str, Sequence[Tally]]) -> list[Sequence[str]]:
    """Rows lost and doubled in all, and lost by what was special about them; ranges where rounds differ."""
    groups = next(iter(tallies.values()))[0].lost_by_group
    lines: list[Sequence[str]] = [
        ("candidate", "rows", "lost", "doubled", "foreign", *(f"lost: {group}" for group in groups))
    ]
    for candidate, rounds in tallies.items():
        totals = [spread([getattr(tally, name) for tally in rounds]) for name in ("lost", "doubled", "foreign")]
        by_group = [spread([tally.lost_by_group[group] for tally in rounds]) for group in groups]
        lines.append((candidate, f"{rounds[0].required:,}", *totals, *by_group))
    return lines


def spread(counts: Sequence[int]) -> str:
    """One figure where all agree, else the least and the greatest."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
