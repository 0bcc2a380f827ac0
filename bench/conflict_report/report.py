"""Results as JSON, a Markdown page and a picture."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import harness, machine, plot
from bench.harness import MIB, Measurement
from bench.nyc_311.report import save, save_text, titled

NAME = "conflict_report"
LIBRARIES = ("asyncpg", "aioboto3", "pydantic")
NOTE = (
    "Every candidate works on a copy of the same database, and each table of the first round was compared with that of "
    "the one statement, row for row, in all columns but the time of the update. Wall time is that of task 02 alone: of "
    "ours from the first chunk that a worker took to the run's success, with leases, ledgers and messages. The server, "
    "the AWS emulator and the workers share the cores. The loop marks and updates 100 keys at a time, has an index for "
    "its condition, and neither leases nor fences: killed at the wrong moment, it skips what it has not done. "
    "What takes long was measured in the first round only."
)


def write(measurements: Sequence[Measurement], *, rows: int, rounds: int, reference: str, results: Path) -> None:
    """Print the table and write ``conflict_report.json``, ``.md`` and ``.svg``."""
    about = machine.describe(LIBRARIES) | {"load": statistics.median(each.load for each in measurements)}
    document: dict[str, Any] = {
        "name": NAME,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": about,
        "units": {"rows": rows},
        "rounds": rounds,
        "reference": reference,
        "summary": harness.summarise(measurements, reference),
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    page = titled(document, _table(measurements, rows, reference), NOTE)
    print(page)
    save(results / f"{NAME}.json", document)
    save_text(results / f"{NAME}.md", page)
    plot.write(results / f"{NAME}.svg", document)


def _table(measurements: Sequence[Measurement], rows: int, reference: str) -> list[Sequence[str]]:
    base = statistics.median(m.wall_s for m in measurements if m.candidate == reference)
    header = ("candidate", "wall s", "x", "rows/s", "chunks", "CPU s", "emulator CPU s", "peak MiB", "plan s")
    lines: list[Sequence[str]] = [header]
    for name in dict.fromkeys(m.candidate for m in measurements):
        runs = [m for m in measurements if m.candidate == name]
        wall = statistics.median(m.wall_s for m in runs)
        emulator = [float(m.observed["emulator_cpu_s"]) for m in runs if "emulator_cpu_s" in m.observed]
        plans = [float(m.output["plan_s"]) for m in runs if "plan_s" in m.output]
        lines.append((
            name,
            f"{wall:.2f} ({min(m.wall_s for m in runs):.2f} to {max(m.wall_s for m in runs):.2f})",
            f"{wall / base:.2f}",
            f"{rows / wall:,.0f}",
            f"{runs[0].output['chunks']:,}",
            f"{statistics.median(m.cpu_s for m in runs):.1f}",
            f"{statistics.median(emulator):.1f}" if emulator else "-",
            f"{statistics.median(m.peak_rss_bytes for m in runs) / MIB:,.0f}",
            f"{statistics.median(plans):.1f}" if plans else "-",
        ))  # fmt: skip
    return lines
