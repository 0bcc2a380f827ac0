"""What reading a table costs afterwards, with the same engines for all: polars and DuckDB over the files it names.

Bytes are counted where polars reads them from S3; the engines are timed on local copies, because what is compared is
the files. Timed without network, the kind of file shows most.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import boto3  # type: ignore[import-untyped, unused-ignore]
import duckdb
import polars as pl

from bench.merge.job import CURSOR

PARTICIPANT = "ptid"
QUESTIONS = ("count", "one_day", "one_participant", "all")
ENGINES = ("polars", "duckdb")

Questions = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Digest:
    """Of rows in whatever order: how many, and the sum of their hashes. Digests of some and of others add up."""

    rows: int
    hashes: int

    def __add__(self, other: "Digest") -> "Digest":
        """That of all of them."""
        return Digest(self.rows + other.rows, (self.hashes + other.hashes) % (1 << 64))

    def __str__(self) -> str:
        """As it is compared."""
        return f"{self.rows}:{self.hashes}"


def digest(rows: pl.DataFrame) -> Digest:
    """That of these rows, whatever the order of the columns."""
    plain = rows.select(sorted(rows.columns)).with_columns(pl.col(CURSOR).dt.epoch("us"))
    return Digest(plain.height, int(plain.hash_rows(seed=1).sum() or 0))


def asked_of_polars(scan: pl.LazyFrame, day: datetime, participant: str) -> Questions:
    """How many rows, all of one day, all of one participant, and all."""
    if scan.collect_schema()[CURSOR] == pl.Datetime("us"):
        day = day.replace(tzinfo=None)
    of_day = (pl.col(CURSOR) >= day) & (pl.col(CURSOR) < day + timedelta(days=1))
    return {
        "count": scan.select(pl.len()).collect,
        "one_day": scan.filter(of_day).collect,
        "one_participant": scan.filter(pl.col(PARTICIPANT) == participant).collect,
        "all": scan.collect,
    }


def asked_of_duckdb(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], day: datetime, participant: str
) -> Questions:
    """The same; of all rows it makes one hash of each column, so that everything is decoded and nothing is kept."""
    connection.execute("SET TimeZone = 'UTC'")
    table = connection.read_parquet([str(file) for file in files])
    cursor, day_ends = duckdb.ColumnExpression(CURSOR), day + timedelta(days=1)
    of_day = (cursor >= duckdb.ConstantExpression(day)) & (cursor < duckdb.ConstantExpression(day_ends))
    of_participant = duckdb.ColumnExpression(PARTICIPANT) == duckdb.ConstantExpression(participant)
    return {
        "count": table.count("*").fetchall,
        "one_day": lambda: table.filter(of_day).to_arrow_table(),
        "one_participant": lambda: table.filter(of_participant).to_arrow_table(),
        "all": lambda: table.aggregate("bit_xor(hash(COLUMNS(*)))").fetchall(),
    }


def seconds(ask: Callable[[], object], repeats: int) -> float:
    """The median time of an answer; the first one, which warms up, does not count."""
    ask()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def sent_bytes(stub: str | None) -> int:
    """Bytes that the stub has sent so far; 0 where there is no stub."""
    if stub is None:
        return 0
    with urlopen(f"{stub}/_stub/stats") as answer:  # noqa: S310 - our own http server
        return int(json.load(answer)["sent_bytes"])


def bytes_read(questions: Questions, stub: str | None) -> Mapping[str, int]:
    """What each question makes polars read from S3."""
    found = {}
    for name in QUESTIONS:
        before = sent_bytes(stub)
        questions[name]()
        found[name] = sent_bytes(stub) - before
    return found


def copied(uris: Sequence[str], folder: Path) -> list[Path]:
    """Local copies of objects."""
    client: Any = boto3.client("s3")
    found = []
    for number, uri in enumerate(uris):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found.append(folder / f"{number:06d}.parquet")
        client.download_file(bucket, key, str(found[-1]))
    return found


def main() -> None:
    """Ask the questions; print seconds, bytes and a digest of all rows."""
    parser = argparse.ArgumentParser(description="Read a table.")
    parser.add_argument("--files", type=Path, required=True, help="JSON list of URIs")
    parser.add_argument("--stub", help="address of the stub, if S3 is one: bytes are counted")
    parser.add_argument("--day", required=True, help="ISO date")
    parser.add_argument("--participant", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    uris = json.loads(options.files.read_text(encoding="utf-8"))
    place = {"aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_allow_http": "true"}
    asked = (datetime.fromisoformat(options.day).replace(tzinfo=UTC), options.participant)
    answers: dict[str, Any] = {
        "bytes": bytes_read(asked_of_polars(pl.scan_parquet(uris, storage_options=place), *asked), options.stub)
    }
    with TemporaryDirectory(prefix="bench-merge-read-") as folder, duckdb.connect() as connection:
        files = copied(uris, Path(folder))
        answers["size"] = sum(file.stat().st_size for file in files)
        whole = pl.read_parquet(files)
        answers |= {"digest": str(digest(whole)), "sorted": whole[CURSOR].is_sorted()}
        del whole
        for engine, questions in zip(
            ENGINES,
            (asked_of_polars(pl.scan_parquet(files), *asked), asked_of_duckdb(connection, files, *asked)),
            strict=True,
        ):
            answers[engine] = {name: seconds(questions[name], options.repeats) for name in QUESTIONS}
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
