"""What every peer is told, and how it answers. All of them read the same table."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

OUTPUT_PREFIX = "data/bronze/"
"""Where every candidate's Parquet files lie in its bucket."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a peer; the AWS environment says where its bucket is."""

    url: str
    """Of the database, with its password."""
    table: str
    bucket: str
    state: Path
    """A folder that lives as long as the output."""


def parse() -> Job:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Read a table of PostgreSQL.")
    parser.add_argument("--url", required=True, help="of the database")
    parser.add_argument("--table", required=True)
    parser.add_argument("--bucket", required=True, help="for Parquet files")
    parser.add_argument("--state", type=Path, required=True)
    return Job(**vars(parser.parse_args()))


def arguments(job: Job) -> list[str]:
    """The arguments that are read back as this job."""
    return ["--url", job.url, "--table", job.table, "--bucket", job.bucket, "--state", str(job.state)]


def carry_out(work: Callable[[Job], Mapping[str, object]]) -> None:
    """Run a job and print what came of it with its own wall and CPU seconds, start and imports left out."""
    job = parse()
    started, cpu_started = time.perf_counter(), time.process_time()
    result = work(job)
    cost = {"work_s": time.perf_counter() - started, "work_cpu_s": time.process_time() - cpu_started}
    sys.stdout.write(json.dumps({**result, **cost}) + "\n")
