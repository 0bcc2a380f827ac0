"""The conflict report: one statement, the loop that is usually written, and ours with one and two workers, alternately.

    python -m bench.conflict_report.bench

Every candidate works on a copy of the same database, and each result of the first round is compared with that of the
one statement, row for row. It leaves JSON, a Markdown table and a picture in ``bench/results``.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import harness
from bench.conflict_report.ours import Declared, run_job
from bench.conflict_report.report import write
from bench.conflict_report.source import Visits, digest, url, visits
from bench.harness import RESULTS, Candidate, Measurement
from bench.nyc_311.arena import arena
from tests.postgres_support import Database


class WrongResultError(Exception):
    """A candidate's table is not that of the one statement."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that ends when it is done."""

    name: str
    module: str
    once: bool = False
    """Whether it runs in the first round only, because it takes long."""

    def run(self, database: Database, number: int) -> Measurement:
        """Start it and wait for its end; measured by itself, from after the snapshot."""
        measured = harness.measure(Candidate(self.name, (sys.executable, "-m", self.module, url(database))), number)
        observed = {"cpu_s": {"process": float(measured.output["work_cpu_s"])}}
        return replace(
            measured, wall_s=float(measured.output["work_s"]), cpu_s=observed["cpu_s"]["process"], observed=observed
        )


@dataclass(frozen=True, slots=True)
class Services:
    """Ours."""

    name: str
    workers: int
    declared: Declared = field(default_factory=Declared)
    settings: Mapping[str, str] = field(default_factory=dict)
    once: bool = False

    def run(self, database: Database, number: int) -> Measurement:
        """Plan, then start the workers; measured from the first chunk that one of them took."""
        load = os.getloadavg()[0]
        with arena() as place:
            ended = run_job(place, database, self.declared, self.workers, self.settings)
        return Measurement(
            candidate=self.name,
            round=number,
            wall_s=ended.work_s,
            cpu_s=sum(ended.cpu_s.values()),
            peak_rss_bytes=max(ended.peak_rss_bytes.values()),
            load=load,
            output={"rows": ended.rows, "chunks": ended.chunks, "plan_s": ended.plan_s},
            observed={"cpu_s": dict(ended.cpu_s), "emulator_cpu_s": ended.emulator_cpu_s},
        )


ONE, LOOP = "one statement", "loop over key pairs"
CANDIDATES: Sequence[Peer | Services] = (
    Peer(ONE, "bench.conflict_report.one_statement"),
    Peer(LOOP, "bench.conflict_report.seed_loop", once=True),
    Services("ours, 1 worker", 1),
    Services("ours, 2 workers", 2),
    Services("ours, 1 worker, 10,000 rows a chunk", 1, Declared(max_keys=10_000)),
    Services("ours, 2 workers, 10,000 rows a chunk", 2, Declared(max_keys=10_000)),
    Services("ours, 2 workers, every chunk marked", 2, Declared(mark_after_s=0.0), once=True),
)
"""The one statement comes first: the others are compared with it."""


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="The conflict report: one statement, a loop, and ours.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="visits")
    parser.add_argument("--skewed", type=int, default=0, help="of them of one key")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidate", choices=[each.name for each in CANDIDATES], action="append")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    wanted = [each for each in CANDIDATES if each.name in (options.candidate or [c.name for c in CANDIDATES])]
    measurements: list[Measurement] = []
    with visits(options.rows, options.skewed) as made:
        for number in range(1, options.rounds + 1):
            for candidate in wanted:
                if candidate.once and number > 1:
                    continue
                measurements.append(_once(made, candidate, number, measurements))
                last = measurements[-1]
                sys.stderr.write(
                    f"conflict_report: round {number}/{options.rounds} {candidate.name}: {last.wall_s:.2f} s\n"
                )
    write(measurements, rows=options.rows, rounds=options.rounds, reference=wanted[0].name, results=options.results)


def _once(made: Visits, candidate: Peer | Services, number: int, earlier: Sequence[Measurement]) -> Measurement:
    with made.copy() as database:
        measured = candidate.run(database, number)
        if number > 1:
            return measured
        found = digest(database)
    if earlier and found != earlier[0].observed["digest"]:
        raise WrongResultError(f"{candidate.name}: {found}; {earlier[0].candidate}: {earlier[0].observed['digest']}")
    return replace(measured, observed={**measured.observed, "digest": found})


if __name__ == "__main__":
    main()
