"""The bronze tier: ours next to dlt, on the same table and the same S3, alternately, and next to what can be had.

    python -m bench.bronze.bench                          # everything, as published
    python -m bench.bronze.bench --scenario full          # how fast the whole table is landed
    python -m bench.bronze.bench --scenario incremental   # what is lost or doubled while the source changes

Each leaves JSON, a Markdown table and, where something was timed, a picture in ``bench/results``.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.bronze import report
from bench.bronze.changes import perform
from bench.bronze.contenders import Contender, Peer, Services
from bench.bronze.crew import ONE_EACH, Staff
from bench.bronze.output import Tally, compare, sums_of_source
from bench.bronze.source import source
from bench.harness import RESULTS, Measurement
from bench.nyc_311.arena import arena
from bench.nyc_311.workers import missing

OURS, DLT, DLT_STREAM, DLT_LAG = "ours", "dlt", "dlt, streaming", "dlt, 10 min lag"
COPY, ARROW = "limit: COPY", "limit: COPY to Arrow"
NAMES = (OURS, DLT, DLT_STREAM, DLT_LAG, COPY, ARROW)


class WrongResultError(Exception):
    """Ours is not what it promises to be."""


def full(options: argparse.Namespace) -> None:
    """The whole table, every row once."""
    staff = Staff({**ONE_EACH, "fetcher": options.fetchers, "merger": options.mergers})
    contenders = chosen(
        options,
        [
            Peer(COPY, "bench.bronze.limit_copy", writes=False),
            Peer(ARROW, "bench.bronze.limit_arrow", writes=False),
            Peer(DLT, "bench.bronze.peer_dlt"),
            Peer(DLT_STREAM, "bench.bronze.peer_dlt_stream"),
            Services(OURS, staff),
        ],
    )
    measurements: list[Measurement] = []
    with source(options.rows) as made:
        wanted = sums_of_source(made)
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                with arena() as place:
                    measured = contender.run(place, made, number)
                    if contender.writes:
                        found = compare(place, wanted)
                        seen = {"rows": found.rows, "wrong": found.wrong, "other_types": found.other_types}
                        measured = replace(measured, observed={**measured.observed, **seen, "files": found.files})
                measurements.append(measured)
                sys.stderr.write(
                    f"bronze_full: round {number}/{options.rounds} {contender.name}: {measured.wall_s:.2f} s\n"
                )
    names = [contender.name for contender in contenders]
    reference = OURS if OURS in names else names[0]
    report.write_speed(
        "bronze_full",
        measurements,
        rows=options.rows,
        rounds=options.rounds,
        reference=reference,
        results=options.results,
    )
    wrong = [m for m in measurements if m.candidate == OURS and (m.observed["wrong"] or m.observed["other_types"])]
    if wrong:
        raise WrongResultError(f"{OURS}: {wrong[0].observed}")


def incremental(options: argparse.Namespace) -> None:
    """Three runs of a table that changes."""
    contenders = chosen(
        options,
        [
            Peer(DLT, "bench.bronze.peer_dlt_incremental"),
            Peer(DLT_LAG, "bench.bronze.peer_dlt_lag"),
            Services(OURS),
        ],
    )
    tallies: dict[str, list[Tally]] = {}
    with source(options.base_rows) as made:
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                found = perform(contender, made)
                tallies.setdefault(contender.name, []).append(found)
                sys.stderr.write(
                    f"bronze_incremental: round {number}/{options.rounds} {contender.name}: "
                    f"{found.lost} lost, {found.doubled} doubled\n"
                )
    report.write_exactness("bronze_incremental", tallies, rows=options.base_rows, results=options.results)
    inexact = [found for found in tallies.get(OURS, []) if found.lost or found.doubled]
    if inexact:
        raise WrongResultError(f"{OURS}: {inexact[0]}")


SCENARIOS: Mapping[str, Callable[[argparse.Namespace], None]] = {"full": full, "incremental": incremental}


def chosen(options: argparse.Namespace, contenders: Sequence[Contender]) -> list[Contender]:
    """Those that were asked for, without those that cannot run here."""
    absent = missing()
    if absent:
        sys.stderr.write(f"{OURS} skipped: there is no {', '.join(absent)}\n")
    return [
        contender
        for contender in contenders
        if contender.name in (options.candidate or NAMES) and not (absent and isinstance(contender, Services))
    ]


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="The bronze tier: ours next to dlt.")
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), action="append", help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2_000_000, help="full: of the table")
    parser.add_argument("--base-rows", type=int, default=200_000, help="incremental: of the table at the beginning")
    parser.add_argument("--fetchers", type=int, default=1, help="full: processes of ours that read")
    parser.add_argument("--mergers", type=int, default=1, help="full: processes of ours that write")
    parser.add_argument("--candidate", choices=NAMES, action="append", help="only this one; repeatable")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args()
    for name in options.scenario or SCENARIOS:
        SCENARIOS[name](options)


if __name__ == "__main__":
    main()
