"""Candidates side by side: alternately, each run in a fresh process, compared by the ratios of their medians.

Alternating (A B A B …) spreads whatever else the machine does over all candidates; a ratio from one run therefore
means more than a figure.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import machine, plot

RESULTS = Path(__file__).parent / "results"
MIB = 2**20

_MEASURE = Path(__file__).with_name("measure.py")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to measure; the last line it prints is a JSON object."""

    name: str
    argv: Sequence[str]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one candidate, from process start to exit, interpreter and imports included."""

    candidate: str
    round: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    load: float
    """The machine's load average over the minute before: how much else was going on."""
    output: Mapping[str, Any]
    observed: Mapping[str, Any] = field(default_factory=dict)


Before = Callable[[Candidate, int], Sequence[str]]
"""Prepares a run, unmeasured; what it returns is added to the candidate's arguments."""
After = Callable[[Candidate, Measurement], Mapping[str, Any]]
"""Checks a run, unmeasured; raises if its result is wrong. What it returns is kept as the run's ``observed``."""


class FailedCandidateError(Exception):
    """A candidate ended with an error; its own message is on stderr."""


def run(  # noqa: PLR0913 - the parts of one comparison
    name: str,
    candidates: Sequence[Candidate],
    rounds: int,
    *,
    units: Mapping[str, int],
    reference: str | None = None,
    before: Before | None = None,
    after: After | None = None,
    libraries: Iterable[str] = (),
    results: Path = RESULTS,
) -> list[Measurement]:
    """Measure every candidate in every round, print the table, write ``NAME.json`` and ``NAME.svg``.

    Args:
        name: of the comparison; names its files.
        candidates: run in this order in each round.
        rounds: how often each is run.
        units: how much work one run is, for example ``{"files": 10_000}``; the first gives the rate.
        reference: the candidate that ratios are taken against; the first one unless given.
        before: called before each run.
        after: called after each run.
        libraries: whose versions are recorded.
        results: the folder to write to.

    Raises:
        FailedCandidateError: a run failed; nothing is written.
    """
    measurements: list[Measurement] = []
    for number in range(1, rounds + 1):
        for candidate in candidates:
            extra = before(candidate, number) if before else ()
            measurement = measure(candidate, number, extra)
            if after:
                measurement = replace(measurement, observed=after(candidate, measurement))
            measurements.append(measurement)
            sys.stderr.write(f"{name}: round {number}/{rounds} {candidate.name}: {measurement.wall_s:.2f} s\n")
    summary = summarise(measurements, reference or candidates[0].name)
    described = machine.describe(libraries)
    described["load"] = statistics.median(measurement.load for measurement in measurements)
    show(name, summary, units, described)
    results.mkdir(parents=True, exist_ok=True)
    document = {
        "name": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "units": dict(units),
        "rounds": rounds,
        "reference": reference or candidates[0].name,
        "summary": summary,
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    plot.write(results / f"{name}.svg", document)
    return measurements


def measure(candidate: Candidate, number: int, extra: Sequence[str] = ()) -> Measurement:
    """Run a candidate once.

    Raises:
        FailedCandidateError: it did not exit with 0, or printed no JSON object at its end.
    """
    command = [sys.executable, "-E", "-S", str(_MEASURE), *candidate.argv, *extra]
    load = os.getloadavg()[0]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise FailedCandidateError(f"{candidate.name} exited with {done.returncode}")
    cost = json.loads(done.stdout)
    lines = cost.pop("output").strip().splitlines()
    try:
        output = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise FailedCandidateError(f"{candidate.name} printed no JSON at its end") from error
    return Measurement(candidate=candidate.name, round=number, load=load, output=output, **cost)


def summarise(measurements: Sequence[Measurement], reference: str) -> dict[str, dict[str, float]]:
    """Medians of each candidate, and how many times the reference's medians they are."""
    quantities = ("wall_s", "cpu_s", "peak_rss_bytes")
    medians = {
        name: {
            quantity: statistics.median(getattr(m, quantity) for m in measurements if m.candidate == name)
            for quantity in quantities
        }
        for name in dict.fromkeys(m.candidate for m in measurements)
    }
    return {
        name: values | {f"{quantity}_ratio": values[quantity] / medians[reference][quantity] for quantity in quantities}
        for name, values in medians.items()
    }


def show(
    name: str, summary: Mapping[str, Mapping[str, float]], units: Mapping[str, int], described: Mapping[str, Any]
) -> None:
    """Print the medians and ratios."""
    unit, amount = next(iter(units.items()))
    table = Table(title=f"{name}: {', '.join(f'{count:,} {what}' for what, count in units.items())}")
    table.add_column("candidate")
    for heading in ("wall s", "x", f"{unit}/s", "CPU s", "x", "peak MiB", "x"):
        table.add_column(heading, justify="right")
    for candidate, values in summary.items():
        table.add_row(
            candidate,
            f"{values['wall_s']:.2f}",
            f"{values['wall_s_ratio']:.2f}",
            f"{amount / values['wall_s']:,.0f}",
            f"{values['cpu_s']:.2f}",
            f"{values['cpu_s_ratio']:.2f}",
            f"{values['peak_rss_bytes'] / MIB:,.0f}",
            f"{values['peak_rss_bytes_ratio']:.2f}",
        )
    console = Console(width=110)
    console.print(table)
    versions = ", ".join(f"{library} {number}" for library, number in described["libraries"].items())
    console.print(
        f"{described['cores']} cores {described['processor']}, {described['memory_gib']} GiB, "
        f"{described['system']}, Python {described['python']}, load {described['load']:.1f}; {versions}",
        style="dim",
    )
