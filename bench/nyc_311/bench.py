"""NYC 311: ours next to dlt and to pandas with requests, on the same source and the same S3, alternately.

    python -m bench.nyc_311.bench                       # everything, as published
    python -m bench.nyc_311.bench --scenario full       # how fast, without latency and with 50 ms
    python -m bench.nyc_311.bench --scenario exactness  # what is lost or doubled while the source changes
    python -m bench.nyc_311.bench --scenario fetchers   # what more fetchers bring

Each leaves JSON, a Markdown table and a picture in ``bench/results``.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.harness import RESULTS
from bench.nyc_311 import report
from bench.nyc_311.contenders import DLT, DLT_WITH_LAG, PANDAS, Contender, Peer, Services
from bench.nyc_311.exactness import Tally, perform
from bench.nyc_311.fetching import read_alone
from bench.nyc_311.rows import Requests, keys_of, write
from bench.nyc_311.source import Source
from bench.nyc_311.speed import WrongResultError, compete
from bench.nyc_311.story import HISTORY, Sizes, tell
from bench.nyc_311.workers import Fleet, missing

OURS, PLAIN_DLT, DLT_LAG, COLLECTOR = "ours", "dlt", "dlt, 48 h lag", "pandas + requests"
ONE_FETCHER, FOUR_LANES, FOUR_FETCHERS = "1 fetcher", "1 fetcher, 4 segments at once", "4 fetchers"
NAMES = (OURS, PLAIN_DLT, DLT_LAG, COLLECTOR, ONE_FETCHER, FOUR_LANES, FOUR_FETCHERS)
BEHIND = timedelta(hours=2)
PAGES_A_DAY = 12
QUICK_RECOVERY = {"TIDEGATE_WORKER_VISIBILITY_S": "6", "TIDEGATE_LEASE_TTL_S": "6"}
"""Nobody should wait long for what a killed worker held, where nothing is timed."""

UNWANTED_SHARE = 10
"""For ten rows that are wanted the source has one that is not."""


def full(options: argparse.Namespace) -> None:
    """Every row once from the beginning, for each latency."""
    contenders = chosen(options, [*peers(options), Services(OURS, options.page_rows)])
    with Source() as source:
        wanted = fill(source, options.rows)
        for latency_ms in options.latency_ms:
            race(options, f"nyc_311_full_{latency_ms:g}ms", contenders, source, wanted, latency_ms)


def fetchers(options: argparse.Namespace) -> None:
    """Ours with one fetcher and with four, against a source that takes its time."""
    contenders = chosen(
        options,
        [
            Services(ONE_FETCHER, options.page_rows, fleet=Fleet(fetchers=1, lanes=1)),
            Services(FOUR_LANES, options.page_rows, fleet=Fleet(fetchers=1, lanes=4)),
            Services(FOUR_FETCHERS, options.page_rows, fleet=Fleet(fetchers=4, lanes=1)),
        ],
    )
    with Source() as source:
        wanted = fill(source, options.rows)
        race(options, "nyc_311_fetchers", contenders, source, wanted, max(options.latency_ms))


def fetching(options: argparse.Namespace) -> None:
    """Reading alone, with one fetcher and with four."""
    with Source() as source:
        fill(source, options.rows)
        fleets = [(1, 1), (1, 4), (4, 1)]
        found = read_alone(
            source, fleets, page_rows=options.page_rows, latency_ms=max(options.latency_ms), rounds=options.rounds
        )
    one = found[1, 1]
    for (processes, lanes), seconds in found.items():
        print(f"{processes} fetchers x {lanes} ranges: {seconds:.2f} s, {one / seconds:.2f} times one")


def exactness(options: argparse.Namespace) -> None:
    """Three days of a source that does not hold still."""
    page_rows = max(options.daily_rows // PAGES_A_DAY, 1)
    contenders = chosen(
        options,
        [
            Peer(DLT_LAG, DLT_WITH_LAG, page_rows, options.now),
            *peers(options, page_rows=page_rows),
            Services(OURS, page_rows, segment_rows=2 * page_rows, settings=QUICK_RECOVERY),
        ],
    )
    if not contenders:
        return
    sizes = Sizes(
        base=options.base_rows,
        daily=options.daily_rows,
        late=options.daily_rows // 30,
        changed=options.daily_rows // 100,
    )
    story = tell(options.now, sizes, behind=timedelta(hours=options.behind_hours))
    tallies: dict[str, list[Tally]] = {}
    with Source() as source:
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                tally = perform(contender, source, story)
                tallies.setdefault(contender.name, []).append(tally)
                sys.stderr.write(
                    f"nyc_311_exactness: round {number}/{options.rounds} {contender.name}: "
                    f"{tally.lost} lost, {tally.doubled} doubled\n"
                )
    report.write_exactness(
        "nyc_311_exactness",
        tallies,
        units={"rows": sizes.base + 2 * (sizes.daily + sizes.late) + sizes.changed},
        results=options.results,
    )
    inexact = [tally for tally in tallies.get(OURS, []) if not tally.is_exact]
    if inexact:
        raise WrongResultError(f"{OURS}: {inexact[0]}")


SCENARIOS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "full": full,
    "exactness": exactness,
    "fetchers": fetchers,
    "fetching": fetching,
}


def race(
    options: argparse.Namespace,
    name: str,
    contenders: Sequence[Contender],
    source: Source,
    wanted: frozenset[str],
    latency_ms: float,
) -> None:
    """Compete and report; ratios are to ours, or to the first contender."""
    if not contenders:
        return
    names = [contender.name for contender in contenders]
    measurements = compete(name, contenders, source, wanted=wanted, latency_ms=latency_ms, rounds=options.rounds)
    report.write_speed(
        name,
        measurements,
        units={"rows": options.rows},
        rounds=options.rounds,
        reference=OURS if OURS in names else names[0],
        results=options.results,
    )


def peers(options: argparse.Namespace, page_rows: int | None = None) -> list[Peer]:
    """Those that ours is compared with everywhere."""
    size = page_rows or options.page_rows
    return [Peer(PLAIN_DLT, DLT, size, options.now), Peer(COLLECTOR, PANDAS, size, options.now)]


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


def fill(source: Source, amount: int) -> frozenset[str]:
    """Load this many rows that are wanted, of a year's greater part, and some that are not; the keys of the former."""
    requests = Requests()
    last = datetime.now().replace(microsecond=0) - BEHIND  # noqa: DTZ005 - the source's local time has no zone
    wanted = list(requests.spread(amount, last - HISTORY, last))
    others = requests.spread(amount // UNWANTED_SHARE, last - HISTORY, last, "Closed")
    with TemporaryDirectory(prefix="bench-rows-") as folder:
        source.load(write([*wanted, *others], Path(folder) / "rows.ndjson.gz"))
    return keys_of(wanted)


def main() -> None:
    """Read the arguments and compare."""
    parser = argparse.ArgumentParser(description="NYC 311: ours next to dlt and to pandas with requests.")
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), action="append", help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000, help="full, fetchers: rows that are wanted")
    parser.add_argument("--page-rows", type=int, default=2_000, help="full, fetchers: rows of a request")
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0.0, 50.0], help="full: of every answer")
    parser.add_argument("--base-rows", type=int, default=40_000, help="exactness: rows of the initial load")
    parser.add_argument("--daily-rows", type=int, default=12_000, help="exactness: rows of each day after it")
    parser.add_argument("--behind-hours", type=float, default=2.0, help="exactness: age of the newest row at each pull")
    parser.add_argument("--candidate", action="append", choices=NAMES, help="only this one; repeatable")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.set_defaults(now=datetime.now().replace(microsecond=0))  # noqa: DTZ005 - the source's local time has no zone
    options = parser.parse_args()
    for name in options.scenario or SCENARIOS:
        SCENARIOS[name](options)


if __name__ == "__main__":
    main()
