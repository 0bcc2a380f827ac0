"""A Delta Lake table that is appended to, in no order."""

import os
from pathlib import Path

import pyarrow as pa
from deltalake import (  # type: ignore[import-not-found, unused-ignore]
    DeltaTable,
    write_deltalake,
)

from bench.merge.job import BUCKET, carry_out

URI = f"s3://{BUCKET}/delta"


class DeltaLake:
    """Appends; a reader opens every file since the last compaction."""

    def __init__(self, state: Path) -> None:
        del state
        self._options = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true"}

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        write_deltalake(URI, rows, storage_options=self._options)

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        write_deltalake(URI, rows, mode="append", storage_options=self._options)

    def compact(self) -> None:
        """See ``Table``."""
        DeltaTable(URI, storage_options=self._options).optimize.compact()

    def files(self) -> list[str]:
        """See ``Table``."""
        uris: list[str] = DeltaTable(URI, storage_options=self._options).file_uris()
        return uris

    def close(self) -> None:
        """It holds nothing."""


if __name__ == "__main__":
    carry_out(DeltaLake)
