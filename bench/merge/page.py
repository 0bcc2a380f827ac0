"""The tables of docs/benchmarks.md, from the results of the merge benchmarks.

python -m bench.merge.page
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.harness import MIB, RESULTS
from bench.merge import aged
from bench.merge.bench import KINDS
from bench.nyc_311.report import markdown

Lines = Mapping[tuple[int, str, str], Mapping[str, Any]]


def costs(document: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    """A row for each candidate: milliseconds by size, and what a merge of late rows takes at the largest one."""
    lines: Lines = {(line["rows"], line["kind"], line["candidate"]): line for line in document["lines"]}
    sizes = sorted({rows for rows, _, _ in lines})
    kinds = [kind for kind in KINDS.values() if any(kind == found for _, found, _ in lines)]
    names = list(dict.fromkeys(candidate for _, _, candidate in lines))
    header = ("candidate", *(f"{rows:,} rows, ms" for rows in sizes), "peak MiB", "read MiB", "sent MiB")
    return [
        header,
        *([name, *_times(lines, sizes, kinds, name), *_rest(lines, (sizes[-1], kinds[-1], name))] for name in names),
    ]


def _times(lines: Lines, sizes: Sequence[int], kinds: Sequence[str], name: str) -> list[str]:
    return [
        " / ".join(f"{1000 * lines[rows, kind, name]['wall_s']:,.0f}" for kind in kinds if (rows, kind, name) in lines)
        for rows in sizes
    ]


def _rest(lines: Lines, which: tuple[int, str, str]) -> list[str]:
    line = lines.get(which)
    if line is None:
        return ["", "", ""]
    moved = [line["read_bytes"], line["sent_bytes"]]
    return [f"{line['peak_rss_bytes'] / MIB:,.0f}", *("" if size is None else f"{size / MIB:,.2f}" for size in moved)]


def main() -> None:
    """Print the tables of the results that are there."""
    parser = argparse.ArgumentParser(description="Prints the tables of the merge benchmarks.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name in ("merge_stub", "merge_emulator", "merge_aged"):
        path = options.results / f"{name}.json"
        if path.exists():
            document = json.loads(path.read_text(encoding="utf-8"))
            if name == "merge_aged":
                table: Sequence[Sequence[str]] = [aged.header(), *map(aged.cells, document["records"])]
            else:
                table = costs(document)
            print(f"{name}, {document['measured_at']}:", "", *markdown(table), "", sep="\n")


if __name__ == "__main__":
    main()
