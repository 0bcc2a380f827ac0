"""Rewrite-all with pyarrow."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from bench.merge.job import CURSOR, PlainFile, carry_out


class PyArrow(PlainFile):
    """Reads the file, adds the rows, sorts, writes the file."""

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self.write(encoded(rows))

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        body, etag = self.read()
        old = pq.ParquetFile(io.BytesIO(body)).read()
        self.write(encoded(pa.concat_tables([old, rows.cast(old.schema)]).sort_by(CURSOR)), etag)


def encoded(rows: pa.Table) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(rows, file)
    return file.getvalue()


if __name__ == "__main__":
    carry_out(PyArrow)
