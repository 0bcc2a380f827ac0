"""What every candidate is told and does: make a table, merge into it, tidy up, and say what a reader would open."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import boto3  # type: ignore[import-untyped, unused-ignore]
import pyarrow as pa
import pyarrow.parquet as pq

BUCKET = "merge"
CURSOR = "timestamp"
KEY = "events.parquet"
ONE_FILE = f"s3://{BUCKET}/{KEY}"
"""The table of a candidate that has one file."""
MERGE, SEED, COMPACT, FILES = "merge", "seed", "compact", "files"
STEPS = (MERGE, SEED, COMPACT, FILES)


@dataclass(frozen=True, slots=True)
class Job:
    """One step of one candidate; the AWS environment says where the bucket is."""

    step: str
    rows: Sequence[Path]
    """Local Parquet files; those of a seed make the table together, others are merged one by one."""
    state: Path
    """A folder that lives as long as the table, for what a candidate keeps outside of the bucket."""


class Table(Protocol):
    """A candidate's table of events, kept in the bucket."""

    def seed(self, rows: pa.Table) -> None:
        """Make it, of rows in order."""
        ...

    def merge(self, rows: pa.Table) -> None:
        """Add rows."""
        ...

    def compact(self) -> None:
        """Tidy up what merges left; nothing where a merge leaves one file."""
        ...

    def files(self) -> list[str]:
        """URIs of the Parquet files that a reader opens."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class PlainFile:
    """One Parquet file under one key: what the candidates share that rewrite it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.s3: Any = boto3.client("s3")

    def read(self) -> tuple[bytes, str]:
        """The file and its ETag."""
        answer = self.s3.get_object(Bucket=BUCKET, Key=KEY)
        return answer["Body"].read(), answer["ETag"]

    def write(self, body: bytes, etag: str | None = None) -> None:
        """Write it, over the file of this ETag; anything else in its place is an error."""
        condition = {} if etag is None else {"IfMatch": etag}
        self.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body, **condition)

    def close(self) -> None:
        """Close its connections."""
        self.s3.close()

    def compact(self) -> None:
        """It is one file."""

    def files(self) -> list[str]:
        """It is one file."""
        return [ONE_FILE]


def arguments(job: Job) -> list[str]:
    """The arguments that are read back as this job."""
    return ["--step", job.step, "--state", str(job.state), *(f"--rows={path}" for path in job.rows)]


def carry_out(opened: Callable[[Path], Table]) -> None:
    """Do one step; print the wall and CPU seconds of each merge, without the start, imports and rows of the process."""
    parser = argparse.ArgumentParser(description="Merge events into a table.")
    parser.add_argument("--step", choices=STEPS, default=MERGE)
    parser.add_argument("--rows", type=Path, action="append", default=[])
    parser.add_argument("--state", type=Path, required=True)
    options = parser.parse_args()
    with closing(opened(options.state)) as table:
        if options.step == FILES:
            said: dict[str, object] = {"files": table.files()}
        else:
            rows = [pq.ParquetFile(path).read() for path in options.rows]
            works: list[Callable[[], None]] = [partial(table.merge, some) for some in rows] or [table.compact]
            if options.step == SEED:
                works = [partial(table.seed, pa.concat_tables(rows))]
            costs = [timed(work) for work in works]
            said = {"wall_s": [wall for wall, _ in costs], "cpu_s": [cpu for _, cpu in costs]}
    sys.stdout.write(json.dumps(said) + "\n")


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - busy
