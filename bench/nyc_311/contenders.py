"""Who competes: each runs once against a source, on an arena, and says what its own work cost."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from bench import harness
from bench.harness import Candidate, Measurement
from bench.nyc_311.arena import PROCESSED, RAW, Arena
from bench.nyc_311.job import Job, arguments
from bench.nyc_311.ours import Ours
from bench.nyc_311.source import DATASET, Source
from bench.nyc_311.workers import Fleet

DLT = "bench.nyc_311.peer_dlt"
DLT_WITH_LAG = "bench.nyc_311.peer_dlt_lag"
PANDAS = "bench.nyc_311.peer_pandas"


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that ends when it is done; measured by itself, from after its imports."""

    name: str
    module: str
    page_rows: int
    now: datetime
    """When its run starts, in the source's local time."""
    exact: bool = False
    """It does not promise every row once."""

    def run(self, place: Arena, source: Source, number: int) -> Measurement:
        """Start it and wait for its end."""
        place.make_buckets()
        with metered(place, source, self.page_rows) as used:
            measured = harness.measure(Candidate(self.name, self.command(place, source, self.now)), number)
        observed = {
            **used,
            "process_s": measured.wall_s,
            "process_cpu_s": measured.cpu_s,
            "peak_rss_bytes": {"process": measured.peak_rss_bytes},
        }
        work_s, cpu_s = float(measured.output["work_s"]), float(measured.output["work_cpu_s"])
        return replace(measured, wall_s=work_s, cpu_s=cpu_s, observed=observed)

    def command(self, place: Arena, source: Source, now: datetime) -> Sequence[str]:
        """How it is started for a run at this time."""
        job = Job(
            domain=source.url,
            dataset=DATASET,
            raw=RAW,
            processed=PROCESSED,
            now=now,
            page_rows=self.page_rows,
            state=place.folder / "state",
        )
        return (sys.executable, "-m", self.module, *arguments(job))


@dataclass(frozen=True, slots=True)
class Services:
    """Ours: workers that wait for messages; measured from the request to the success in the ledger."""

    name: str
    page_rows: int
    segment_rows: int | None = None
    """As declared unless given."""
    fleet: Fleet = field(default_factory=Fleet)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Variables of the workers, beyond those they always get."""
    exact: bool = True

    def stack(self, place: Arena, source: Source) -> Ours:
        """Everything it needs, with workers still to be started."""
        return Ours(
            place,
            source.url,
            page_rows=self.page_rows,
            segment_rows=self.segment_rows,
            fleet=self.fleet,
            settings=self.settings,
        )

    def run(self, place: Arena, source: Source, number: int) -> Measurement:
        """Start the workers, unmeasured, and ask for a run."""
        ours = self.stack(place, source)
        ours.workers.start()
        try:
            load, cpu_before = os.getloadavg()[0], ours.workers.cpu_s()
            with metered(place, source, self.page_rows) as used:
                ended = ours.run()
            cpu_s, peaks = ours.workers.cpu_s() - cpu_before, ours.workers.peak_rss_bytes()
        finally:
            ours.workers.stop()
        return Measurement(
            candidate=self.name,
            round=number,
            wall_s=ended.work_s,
            cpu_s=cpu_s,
            peak_rss_bytes=sum(peaks.values()),
            load=load,
            output={"run_id": ended.run_id, "mode": ended.mode},
            observed={**used, "peak_rss_bytes": peaks},
        )


Contender = Peer | Services
"""One way to collect the rows; it has a ``name`` and says whether it promises to be ``exact``."""


@contextmanager
def metered(place: Arena, source: Source, page_rows: int) -> Iterator[dict[str, float]]:
    """What the server and the emulator did in a block; filled in at its end."""
    used: dict[str, float] = {}
    source.forget()
    emulator_before = place.emulator_cpu_s()
    yield used
    emulator_after, stats, pages = place.emulator_cpu_s(), source.stats(), source.pages(page_rows)
    used["server_busy_s"] = stats["busy_s"]
    used["server_requests"] = stats["requests"]
    used["reading_s"] = pages[-1] - pages[0]
    used["emulator_cpu_s"] = emulator_after - emulator_before
