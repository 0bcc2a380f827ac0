"""Cost against size: a line for each candidate."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.harness import MIB

PANELS = (
    ("wall_s", "one merge, ms", 0.001),
    ("peak_rss_bytes", "peak memory, MiB", MIB),
    ("sent_bytes", "sent to S3 a merge, MiB", MIB),
    ("one_day_polars", "then reading one day, ms", 0.001),
)


def write(path: Path, document: Mapping[str, Any]) -> bool:
    """Draw a result, a row of panels for each kind of new events; without matplotlib say so and draw nothing.

    Returns:
        Whether the picture was written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        sys.stderr.write(f"{path.name} not drawn: matplotlib is missing (install requirements/bench.txt)\n")
        return False
    # Loaded by name because only the benchmarks' own environment has it.
    mpl, drawing = importlib.import_module("matplotlib"), importlib.import_module("matplotlib.figure")
    mpl.rcParams["svg.hashsalt"] = document["name"]  # the same result gives the same file
    lines = [line for line in document["lines"] if "compaction" not in line["candidate"]]
    kinds = list(dict.fromkeys(line["kind"] for line in lines))
    names = list(dict.fromkeys(line["candidate"] for line in lines))
    shown = [panel for panel in PANELS if any(line[panel[0]] for line in lines)]
    figure = drawing.Figure(figsize=(4 * len(shown), 3.4 * len(kinds)), layout="constrained")
    grid = figure.subplots(len(kinds), len(shown), squeeze=False)
    for row, kind in zip(grid, kinds, strict=True):
        for axes, (quantity, label, unit) in zip(row, shown, strict=True):
            for name in names:
                points = [line for line in lines if (line["kind"], line["candidate"]) == (kind, name)]
                sizes, values = [line["rows"] for line in points], [line[quantity] / unit for line in points]
                axes.plot(sizes, values, marker="o", markersize=3, label=name)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_title(f"{label} ({kind})", fontsize=9)
            axes.set_xlabel("rows in the table", fontsize=8)
    grid[0][0].legend(fontsize=7)
    figure.suptitle(f"{document['name']}: 1,000 events merged; medians of {document['rounds']} rounds", fontsize=10)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return True
