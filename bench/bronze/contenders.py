"""Who competes: each lands the table once on an arena and says what its own work cost."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bench import harness
from bench.bronze.crew import Staff
from bench.bronze.job import Job, arguments
from bench.bronze.ours import Ours
from bench.bronze.source import TABLE, Source
from bench.harness import Candidate, Measurement
from bench.nyc_311.arena import PROCESSED, Arena
from contracts.runs import LoadType

PHASES = {
    "planned": "load dispatched",
    "fetched": "segment fetched",
    "validated": "segment validated",
    "published": "published",
}
"""What workers say last at the end of each phase."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that ends when it is done; measured by itself, from after its imports."""

    name: str
    module: str
    writes: bool = True
    """A limit writes nothing: it only says what can be had at best."""

    def run(self, place: Arena, source: Source, number: int) -> Measurement:
        """Start it and wait for its end."""
        place.make_buckets()
        with metered(place) as used:
            measured = harness.measure(Candidate(self.name, self.command(place, source)), number)
        observed = {**used, "process_s": measured.wall_s, "peak_rss_bytes": {"process": measured.peak_rss_bytes}}
        work_s, cpu_s = float(measured.output["work_s"]), float(measured.output["work_cpu_s"])
        observed["cpu_s"] = {"process": cpu_s}
        return replace(measured, wall_s=work_s, cpu_s=cpu_s, observed=observed)

    def command(self, place: Arena, source: Source) -> Sequence[str]:
        """How it is started."""
        job = Job(url=source.url, table=TABLE, bucket=PROCESSED, state=place.folder / "state")
        return (sys.executable, "-m", self.module, *arguments(job))


@dataclass(frozen=True, slots=True)
class Services:
    """Ours: workers that wait for messages; measured from the request to the success in the ledger."""

    name: str
    staff: Staff = field(default_factory=Staff)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the workers, beyond those they always get."""
    writes: bool = True

    def run(self, place: Arena, source: Source, number: int) -> Measurement:
        """Start the workers, unmeasured, and ask for a full load."""
        ours = Ours(place, source, self.staff, self.settings)
        ours.workers.start()
        try:
            load, before = os.getloadavg()[0], ours.workers.cpu_s_of_each()
            asked = datetime.now(UTC)
            with metered(place) as used:
                ended = ours.run(LoadType.FULL)
            after, peaks = ours.workers.cpu_s_of_each(), ours.workers.peak_rss_bytes()
        finally:
            ours.workers.stop()
        cpu_s = {name: after[name] - before[name] for name in after}
        said = {phase: ours.workers.last_said(event) for phase, event in PHASES.items()}
        phases = {phase: (moment - asked).total_seconds() for phase, moment in said.items() if moment}
        return Measurement(
            candidate=self.name,
            round=number,
            wall_s=ended.work_s,
            cpu_s=sum(cpu_s.values()),
            peak_rss_bytes=max(peaks.values()),
            load=load,
            output={"run_id": ended.run_id},
            observed={**used, "peak_rss_bytes": peaks, "cpu_s": cpu_s, "phases_s": phases},
        )


Contender = Peer | Services
"""One way to land the table; it has a ``name`` and says whether it ``writes``."""


@contextmanager
def metered(place: Arena) -> Iterator[dict[str, float]]:
    """What the emulator used in a block; filled in at its end."""
    used: dict[str, float] = {}
    before = place.emulator_cpu_s()
    yield used
    used["emulator_cpu_s"] = place.emulator_cpu_s() - before
