"""Rows lost and rows doubled, as bars: the picture of an exactness result."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLOURS = {"lost": "#cb181d", "doubled": "#fdae6b"}


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
    figure = drawing.Figure(figsize=(9, 1.2 + 0.55 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(_COLOURS), sharey=True)
    for panel, (quantity, colour) in zip(panels, _COLOURS.items(), strict=True):
        amounts = [document["summary"][name][quantity] for name in names]
        bars = panel.barh(names, amounts, color=colour)
        panel.bar_label(bars, [f"{amount:,.0f}" for amount in amounts], padding=4, fontsize=8)
        panel.set_xlabel(f"rows {quantity}")
        panel.set_xlim(0, 1.2 * max(*amounts, 1))
    panels[0].invert_yaxis()
    work = ", ".join(f"{count:,} {unit}" for unit, count in document["units"].items())
    figure.suptitle(f"{document['name']}: {work}; medians of {document['rounds']} rounds", fontsize=10)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return True
