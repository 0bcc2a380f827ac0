"""Rewrite-all with DuckDB."""

import duckdb
import pyarrow as pa

from bench.merge.job import CURSOR, carry_out
from bench.merge.peer_pyarrow import PyArrow


class DuckDb(PyArrow):
    """Sorts a file on disk and the rows into another file; S3 sees one GET and one PUT."""

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        before, after = self.state / "before.parquet", self.state / "after.parquet"
        body, etag = self.read()
        before.write_bytes(body)
        del body
        with duckdb.connect() as connection:
            connection.register("new_rows", rows)
            both = f"SELECT * FROM '{before}' UNION ALL FROM new_rows ORDER BY {CURSOR}"  # noqa: S608 - our own text
            connection.execute(f"COPY ({both}) TO '{after}' (FORMAT parquet)")
        self.write(after.read_bytes(), etag)


if __name__ == "__main__":
    carry_out(DuckDb)
