"""The seed's design as a careful engineer would write it down, except how the files are read: that is the peers'.

Read the previous checkpoint, list all files, read and parse each, keep those newer than the checkpoint's latest
timestamp, validate each with Pydantic, append, sort, write Parquet. As the seed says, an increment still lists and
reads every file, because a file's timestamp is known only once it is read.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any, Literal

import boto3  # type: ignore[import-untyped, unused-ignore]
import polars as pl
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel, Field, ValidationError, field_validator

SCHEMA = {
    "action": pl.String(),
    "study": pl.String(),
    "pipeline_adcid": pl.Int32(),
    "project_label": pl.String(),
    "center_label": pl.String(),
    "gear_name": pl.String(),
    "ptid": pl.String(),
    "visit_date": pl.Date(),
    "visit_number": pl.String(),
    "datatype": pl.String(),
    "module": pl.String(),
    "packet": pl.String(),
    "timestamp": pl.Datetime("us", time_zone="UTC"),
}

Retrieve = Callable[[Any, str, Sequence[str]], Iterator[bytes]]
"""Reads the objects of these keys, in order, with an S3 client."""


class VisitEvent(BaseModel):
    """One event, checked field by field."""

    action: Literal["submit", "pass-qc", "not-pass-qc", "delete"]
    study: str = Field(default="adrc", min_length=1)
    pipeline_adcid: int = Field(gt=0)
    project_label: str = Field(min_length=1)
    center_label: str = Field(min_length=1)
    gear_name: str = Field(min_length=1)
    ptid: str = Field(pattern=r"^[A-Z0-9]+$", max_length=10)
    visit_date: date
    visit_number: str = Field(min_length=1)
    datatype: str = Field(min_length=1)
    module: str | None = None
    packet: str | None = None
    timestamp: datetime

    @field_validator("timestamp", mode="before")
    @classmethod
    def parse_timestamp(cls, value: Any) -> Any:
        """Read ISO 8601; without a zone it is UTC."""
        return parse_iso8601(value) if isinstance(value, str) else value


class Phases:
    """Seconds spent in each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Time a block."""
        started = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - started


def parse_iso8601(text: str) -> datetime:
    """A moment in UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_checkpoint(client: Any, bucket: str, key: str) -> pl.DataFrame | None:
    """The previous checkpoint, if there is one."""
    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    return pl.read_parquet(io.BytesIO(body))


def latest(checkpoint: pl.DataFrame | None) -> datetime | None:
    """The greatest timestamp of a checkpoint, if it has any."""
    moment = None if checkpoint is None else checkpoint["timestamp"].max()
    return moment if isinstance(moment, datetime) else None


def list_event_files(client: Any, bucket: str, prefix: str) -> list[str]:
    """The keys of all event files."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Key"].endswith(".json")]


def merge(previous: pl.DataFrame | None, events: Sequence[VisitEvent]) -> pl.DataFrame:
    """The checkpoint with the new events, by timestamp."""
    new = pl.DataFrame([event.model_dump() for event in events], schema=SCHEMA)
    return (new if previous is None else pl.concat([previous, new])).sort("timestamp")


def main(retrieve: Retrieve, connections: int) -> None:
    """Update the checkpoint that the arguments name; print counts and phase times."""
    options = arguments().parse_args()
    client = boto3.client("s3", endpoint_url=options.endpoint, config=Config(max_pool_connections=connections))
    phases = Phases()
    with phases.timed("checkpoint"):
        previous = read_checkpoint(client, options.bucket, options.checkpoint_key)
        since = latest(previous)
    with phases.timed("list"):
        keys = list_event_files(client, options.bucket, options.prefix)
    failed = 0
    found: list[dict[str, Any]] = []
    with phases.timed("read"):
        for body in retrieve(client, options.bucket, keys):
            try:
                data = json.loads(body)
                if since is None or parse_iso8601(data["timestamp"]) > since:
                    found.append(data)
            except (ValueError, KeyError, TypeError):
                failed += 1
    events: list[VisitEvent] = []
    with phases.timed("validate"):
        for data in found:
            try:
                events.append(VisitEvent.model_validate(data))
            except ValidationError:
                failed += 1
    with phases.timed("merge"):
        merged = merge(previous, events)
    with phases.timed("write"):
        buffer = io.BytesIO()
        merged.write_parquet(buffer, compression="snappy")
        client.put_object(Bucket=options.bucket, Key=options.checkpoint_key, Body=buffer.getvalue())
    counts = {"new_events_processed": len(events), "total_events": merged.height, "events_failed": failed}
    sys.stdout.write(json.dumps({**counts, "phases": phases.seconds}) + "\n")


def arguments() -> argparse.ArgumentParser:
    """What every candidate of the comparison is told."""
    parser = argparse.ArgumentParser(description="Visit event files to one sorted Parquet checkpoint.")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bucket", required=True, help="of the files and of the checkpoint")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--checkpoint-key", required=True)
    parser.add_argument("--state", required=True, help="a folder that lives from a full scan to its increment")
    return parser
