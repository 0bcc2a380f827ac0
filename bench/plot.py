"""Results as a picture: medians as bars, single runs as dots."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MIB = 2**20

_PANELS = (("wall_s", "wall time, s", 1), ("cpu_s", "CPU time, s", 1), ("peak_rss_bytes", "peak memory, MiB", MIB))


def write(path: Path, document: Mapping[str, Any]) -> bool:
    """Draw a result; without matplotlib say so on stderr and draw nothing.

    Returns:
        Whether the picture was written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        sys.stderr.write(f"{path.name} not drawn: matplotlib is missing (install requirements/bench.txt)\n")
        return False
    # Loaded by name because only the benchmarks' own environment has it.
    mpl, drawing = importlib.import_module("matplotlib"), importlib.import_module("matplotlib.figure")
    mpl.rcParams["svg.hashsalt"] = document["name"]  # the same result gives the same file
    names = list(document["summary"])
    figure = drawing.Figure(figsize=(11, 1.2 + 0.45 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for panel, (quantity, label, scale) in zip(panels, _PANELS, strict=True):
        medians = [document["summary"][name][quantity] / scale for name in names]
        bars = panel.barh(names, medians, color="#9ecae1")
        panel.bar_label(
            bars, [f"{document['summary'][name][f'{quantity}_ratio']:.2f}x" for name in names], padding=4, fontsize=8
        )
        runs = document["measurements"]
        panel.scatter(
            [run[quantity] / scale for run in runs],
            [names.index(run["candidate"]) for run in runs],
            s=9,
            color="#08519c",
        )
        panel.set_xlabel(label)
        panel.set_xlim(0, 1.2 * max(run[quantity] / scale for run in runs))
    panels[0].invert_yaxis()
    work = ", ".join(f"{count:,} {unit}" for unit, count in document["units"].items())
    figure.suptitle(
        f"{document['name']}: {work}; medians of {document['rounds']} rounds, x relative to {document['reference']}",
        fontsize=10,
    )
    figure.savefig(path, format="svg", metadata={"Date": None})
    return True
