"""Rewrite-all with polars, everything in memory."""

import io

import polars as pl
import pyarrow as pa

from bench.merge.job import CURSOR, PlainFile, carry_out


class PolarsEager(PlainFile):
    """Reads the file, adds the rows, sorts, writes the file."""

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self.write(encoded(frame(rows)))

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        body, etag = self.read()
        merged = pl.concat([pl.read_parquet(body), frame(rows)]).sort(CURSOR, maintain_order=True)
        self.write(encoded(merged), etag)


def frame(rows: pa.Table) -> pl.DataFrame:
    """Rows as polars has them."""
    found = pl.from_arrow(rows)
    assert isinstance(found, pl.DataFrame)  # noqa: S101 - of a table it makes no series
    return found


def encoded(rows: pl.DataFrame) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    rows.write_parquet(file)
    return file.getvalue()


if __name__ == "__main__":
    carry_out(PolarsEager)
