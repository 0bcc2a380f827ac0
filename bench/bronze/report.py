"""Results as JSON, a Markdown page and a picture."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import harness, machine, plot
from bench.bronze.output import Tally
from bench.harness import MIB, RESULTS, Measurement
from bench.nyc_311.report import save, save_text, spread, titled

LIBRARIES = ("adbc-driver-postgresql", "asyncpg", "connectorx", "dlt", "polars", "pyarrow", "s3fs")

SPEED_NOTE = (
    "Wall and CPU time are those of the work: of a peer from after its imports to its end, of ours from sending the "
    "request to the success of the group's run in the ledger, its workers having waited for messages. The server's own "
    "time is in the wall time of all. The limits read and write nothing: they say what one connection can give. Ours "
    "writes parts by event date with four columns of lineage, a hash of every record among them, and has proved every "
    "segment; dlt writes the table as it is. Wrong: columns that are not, value for value, those of the source. Memory "
    "is the most that any one process has had."
)
EXACTNESS_NOTE = (
    "Three runs. Before the first and the second, a transaction writes rows and commits only after the run, while "
    "others write and commit; before each run but the first, a share of the rows changes. Counted are versions of rows "
    "in the Parquet output, without any clean-up afterwards."
)


def write_speed(
    name: str,
    measurements: Sequence[Measurement],
    *,
    rows: int,
    rounds: int,
    reference: str,
    results: Path = RESULTS,
) -> None:
    """Print the table and write ``NAME.json``, ``NAME.md`` and ``NAME.svg``."""
    document = described(name) | {
        "units": {"rows": rows},
        "rounds": rounds,
        "reference": reference,
        "summary": harness.summarise(measurements, reference),
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    document["machine"]["load"] = statistics.median(measurement.load for measurement in measurements)
    notes = "\n\n".join([SPEED_NOTE, *phase_notes(measurements)])
    page = titled(document, speed_table(measurements, rows=rows, reference=reference), notes)
    print(page)
    save(results / f"{name}.json", document)
    save_text(results / f"{name}.md", page)
    plot.write(results / f"{name}.svg", document)


def described(name: str) -> dict[str, Any]:
    """What every result begins with: when, and on what machine."""
    about = machine.describe(LIBRARIES)
    return {"name": name, "measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about}


def speed_table(measurements: Sequence[Measurement], *, rows: int, reference: str) -> list[Sequence[str]]:
    """Medians of each candidate; its slowest and fastest run stand behind the wall time."""
    header = (
        "candidate",
        "wall s",
        "x",
        "rows/s",
        "CPU s",
        "emulator CPU s",
        "peak MiB",
        "files",
        "wrong",
        "other types",
    )
    base = statistics.median(m.wall_s for m in measurements if m.candidate == reference)
    lines: list[Sequence[str]] = [header]
    for name in dict.fromkeys(m.candidate for m in measurements):
        runs = [m for m in measurements if m.candidate == name]
        wall = statistics.median(m.wall_s for m in runs)
        fastest, slowest = min(m.wall_s for m in runs), max(m.wall_s for m in runs)
        seen = runs[0].observed
        lines.append((
            name,
            f"{wall:.2f} ({fastest:.2f} to {slowest:.2f})",
            f"{wall / base:.2f}",
            f"{rows / wall:,.0f}",
            each(runs, statistics.median(m.cpu_s for m in runs), "cpu_s", 1, ".1f"),
            f"{statistics.median(float(m.observed['emulator_cpu_s']) for m in runs):.1f}",
            each(runs, statistics.median(m.peak_rss_bytes for m in runs), "peak_rss_bytes", MIB, ",.0f"),
            str(seen.get("files", "-")),
            ", ".join(seen["wrong"]) or "none" if "wrong" in seen else "-",
            ", ".join(seen["other_types"]) or "none" if "other_types" in seen else "-",
        ))  # fmt: skip
    return lines


def phase_notes(measurements: Sequence[Measurement]) -> list[str]:
    """When each phase of a run ended, for candidates that have phases."""
    notes = []
    for name in dict.fromkeys(m.candidate for m in measurements if "phases_s" in m.observed):
        phases = [m.observed["phases_s"] for m in measurements if m.candidate == name]
        ends = [f"{phase} {statistics.median(seen[phase] for seen in phases):.1f} s" for phase in phases[0]]
        notes.append(f"The end of each phase of {name}, from the request: {', '.join(ends)}.")
    return notes


def each(runs: Sequence[Measurement], whole: float, quantity: str, unit: int, form: str) -> str:
    """A figure and, where there are several processes, that of each."""
    names = runs[0].observed[quantity]
    if len(names) == 1:
        return format(whole / unit, form)
    medians = {name: statistics.median(run.observed[quantity][name] for run in runs) / unit for name in names}
    return f"{whole / unit:{form}} ({', '.join(f'{name} {median:{form}}' for name, median in medians.items())})"


def write_exactness(name: str, tallies: Mapping[str, Sequence[Tally]], *, rows: int, results: Path = RESULTS) -> None:
    """Print the table and write ``NAME.json`` and ``NAME.md``."""
    document = described(name) | {
        "units": {"rows": rows},
        "rounds": max(map(len, tallies.values())),
        "rounds_of": {candidate: [asdict(tally) for tally in rounds] for candidate, rounds in tallies.items()},
    }
    table: list[Sequence[str]] = [("candidate", "versions", "lost", "doubled")]
    table += [
        (
            candidate,
            spread([tally.required for tally in rounds]),
            spread([tally.lost for tally in rounds]),
            spread([tally.doubled for tally in rounds]),
        )
        for candidate, rounds in tallies.items()
    ]
    page = titled(document, table, EXACTNESS_NOTE)
    print(page)
    save(results / f"{name}.json", document)
    save_text(results / f"{name}.md", page)
