"""What every peer is told, and how it answers. All of them read the same rows with pages of the same size."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

WANTED = "status in ('Open', 'In Progress')"
LOOKBACK = timedelta(days=365)
OUTPUT_PREFIX = "processed/"
"""Where every candidate's Parquet files lie in its bucket."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a peer; the AWS environment says where its buckets are."""

    domain: str
    dataset: str
    raw: str
    processed: str
    now: datetime
    """When the run starts, in the source's local time: increments of several days are run one after the other."""
    page_rows: int
    state: Path
    """A folder that lives as long as the output."""


def parse() -> Job:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Collect service requests into Parquet on S3.")
    parser.add_argument("--domain", required=True, help="of the source, with its scheme")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--raw", required=True, help="bucket of raw objects")
    parser.add_argument("--processed", required=True, help="bucket of Parquet files")
    parser.add_argument("--now", type=datetime.fromisoformat, required=True)
    parser.add_argument("--page-rows", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    return Job(**vars(parser.parse_args()))


def arguments(job: Job) -> list[str]:
    """The arguments that are read back as this job."""
    return [
        "--domain", job.domain, "--dataset", job.dataset, "--raw", job.raw, "--processed", job.processed,
        "--now", job.now.isoformat(), "--page-rows", str(job.page_rows), "--state", str(job.state),
    ]  # fmt: skip


def carry_out(run: Callable[[Job], Mapping[str, object]]) -> None:
    """Run a job and print what came of it with its own wall and CPU seconds, start and imports left out."""
    job = parse()
    started, cpu_started = time.perf_counter(), time.process_time()
    result = run(job)
    cost = {"work_s": time.perf_counter() - started, "work_cpu_s": time.process_time() - cpu_started}
    sys.stdout.write(json.dumps({**result, **cost}) + "\n")
