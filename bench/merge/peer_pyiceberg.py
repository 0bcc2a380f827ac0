"""An Iceberg table that is appended to, in no order; its catalogue is a local SQLite file."""

import os
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog  # type: ignore[import-not-found, unused-ignore]

from bench.merge.job import BUCKET, carry_out

NAME = "bench.events"


class Iceberg:
    """Appends; a reader opens every file since the last rewrite."""

    def __init__(self, state: Path) -> None:
        environ = {
            "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
            "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
            "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "s3.region": os.environ["AWS_DEFAULT_REGION"],
        }
        place = f"s3://{BUCKET}/iceberg"
        self._catalog = SqlCatalog("bench", uri=f"sqlite:///{state}/catalog.db", warehouse=place, **environ)

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self._catalog.create_namespace("bench")
        self._catalog.create_table(NAME, schema=rows.schema).append(rows)

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self._catalog.load_table(NAME).append(rows)

    def compact(self) -> None:
        """See ``Table``: PyIceberg compacts by rewriting the table."""
        table = self._catalog.load_table(NAME)
        table.overwrite(table.scan().to_arrow())

    def files(self) -> list[str]:
        """See ``Table``."""
        return [task.file.file_path for task in self._catalog.load_table(NAME).scan().plan_files()]

    def close(self) -> None:
        """Close its catalogue."""
        self._catalog.close()


if __name__ == "__main__":
    carry_out(Iceberg)
