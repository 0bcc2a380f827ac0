"""Where one run happens: an emulator of its own with empty buckets, the same for every candidate."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3  # type: ignore[import-untyped, unused-ignore]
import polars as pl

from bench.nyc_311.job import OUTPUT_PREFIX
from bench.nyc_311.usage import cpu_s
from services.console.local.emulator import Emulator
from services.console.local.environment import pointed_at

STACK = "bench"
RAW, PROCESSED = f"{STACK}-raw", f"{STACK}-processed"
_BOOKKEEPING = "/_dlt"


@dataclass(frozen=True, slots=True)
class Arena:
    """One run's emulator and folder. The environment points at it while the block is open."""

    emulator: Emulator
    folder: Path
    environ: Mapping[str, str]
    s3: Any

    def emulator_cpu_s(self) -> float:
        """CPU seconds that the emulator has used so far."""
        return cpu_s(self.emulator.process.pid)

    def make_buckets(self) -> None:
        """What a peer needs; ours is provisioned instead."""
        for bucket in (RAW, PROCESSED):
            self.s3.create_bucket(Bucket=bucket)

    def files(self) -> list[str]:
        """Keys of the Parquet files that are the output, without what a candidate notes down for itself."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=PROCESSED, Prefix=OUTPUT_PREFIX)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key for key in keys if key.endswith(".parquet") and _BOOKKEEPING not in key]

    def rows_by_key(self) -> Counter[str]:
        """How often each unique key is in the output."""
        found: Counter[str] = Counter()
        for key in self.files():
            body = self.s3.get_object(Bucket=PROCESSED, Key=key)["Body"].read()
            found.update(pl.read_parquet(io.BytesIO(body), columns=["unique_key"])["unique_key"].to_list())
        return found


@contextmanager
def arena() -> Iterator[Arena]:
    """Start an emulator; everything it held is gone afterwards."""
    with TemporaryDirectory(prefix="bench-nyc-311-") as folder:
        emulator = Emulator.start(Path(folder))
        environ = {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "TIDEGATE_STACK": STACK,
        }
        try:
            with pointed_at(environ):
                yield Arena(emulator, Path(folder), environ, boto3.client("s3"))
        finally:
            emulator.stop()
