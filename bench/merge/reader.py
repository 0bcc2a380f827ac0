"""What reading a table costs afterwards, with the same engine for all: polars over the files that a table names."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import polars as pl

from bench.merge.job import CURSOR

PARTICIPANT = "ptid"


def questions(scan: pl.LazyFrame, day: datetime, participant: str) -> Mapping[str, pl.LazyFrame]:
    """What is asked: how many rows, all of one day, and all of one participant."""
    of_day = (pl.col(CURSOR) >= day) & (pl.col(CURSOR) < day + timedelta(days=1))
    return {
        "count": scan.select(pl.len()),
        "one_day": scan.filter(of_day),
        "one_participant": scan.filter(pl.col(PARTICIPANT) == participant),
    }


def timed(ask: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, float]:
    """An answer and how many seconds it took."""
    started = time.perf_counter()
    answer = ask()
    return answer, time.perf_counter() - started


def sent_bytes(stub: str | None) -> int:
    """Bytes that the stub has sent so far; 0 where there is no stub."""
    if stub is None:
        return 0
    with urlopen(f"{stub}/_stub/stats") as answer:  # noqa: S310 - our own http server
        return int(json.load(answer)["sent_bytes"])


def digest(rows: pl.DataFrame) -> str:
    """The same for the same rows in whatever order."""
    plain = rows.select(sorted(rows.columns)).with_columns(pl.col(CURSOR).dt.epoch("us"))
    return f"{plain.height}:{plain.hash_rows(seed=1).sum()}"


def main() -> None:
    """Ask the questions; print seconds, rows, and a digest of all rows."""
    parser = argparse.ArgumentParser(description="Read a table.")
    parser.add_argument("--files", type=Path, required=True, help="JSON list of URIs")
    parser.add_argument("--stub", help="address of the stub, if S3 is one: bytes are counted")
    parser.add_argument("--day", required=True, help="ISO date")
    parser.add_argument("--participant", required=True)
    options = parser.parse_args()
    uris = json.loads(options.files.read_text(encoding="utf-8"))
    place = {"aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_allow_http": "true"}
    scan = pl.scan_parquet(uris, storage_options=place)
    day = datetime.fromisoformat(options.day).replace(tzinfo=UTC)
    if scan.collect_schema()[CURSOR] == pl.Datetime("us"):
        day = day.replace(tzinfo=None)
    answers: dict[str, Any] = {}
    for name, question in questions(scan, day, options.participant).items():
        before = sent_bytes(options.stub)
        answer, seconds = timed(question.collect)
        read = sent_bytes(options.stub) - before
        answers[name] = {"s": seconds, "bytes": read, "rows": answer.item() if name == "count" else answer.height}
    whole = scan.collect()
    answers["digest"] = digest(whole)
    answers["sorted"] = whole[CURSOR].is_sorted()
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
