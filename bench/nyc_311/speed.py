"""How fast: the same rows once from the beginning, by every contender in turn, all against one server.

Every run has an emulator of its own; the server is the same for all of them, and the seconds that it was busy with
the answers are shown apart, because no collector can do anything about them.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from bench.harness import Measurement
from bench.nyc_311.arena import arena
from bench.nyc_311.contenders import Contender
from bench.nyc_311.source import Source


class WrongResultError(Exception):
    """A contender that promises every row once has lost or doubled some."""


def compete(
    name: str,
    contenders: Sequence[Contender],
    source: Source,
    *,
    wanted: frozenset[str],
    latency_ms: float,
    rounds: int,
) -> list[Measurement]:
    """Let every contender collect in every round; what each left behind is counted, not timed.

    Raises:
        WrongResultError: the output of one that promises exactness is not the ``wanted`` keys, each once.
    """
    measurements = []
    for number in range(1, rounds + 1):
        for contender in contenders:
            measurement = once(contender, source, wanted=wanted, latency_ms=latency_ms, number=number)
            measurements.append(measurement)
            sys.stderr.write(f"{name}: round {number}/{rounds} {contender.name}: {measurement.wall_s:.2f} s\n")
    return measurements


def once(
    contender: Contender, source: Source, *, wanted: frozenset[str], latency_ms: float, number: int
) -> Measurement:
    """One run on an empty arena."""
    with arena() as place:
        source.set_latency(latency_ms)
        try:
            measurement = contender.run(place, source, number)
        finally:
            source.set_latency(0)
        found = place.rows_by_key()
    lost, doubled = len(wanted - found.keys()), found.total() - len(found)
    if contender.exact and (lost or doubled or found.keys() - wanted):
        raise WrongResultError(f"{contender.name}: {lost} rows lost, {doubled} doubled, {len(found)} of {len(wanted)}")
    return replace(measurement, observed={**measurement.observed, "lost": lost, "doubled": doubled})
