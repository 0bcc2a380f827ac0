"""Rewrite-all with polars' streaming engine, which merges two sorted inputs."""

import polars as pl
import pyarrow as pa

from bench.merge.job import CURSOR, carry_out
from bench.merge.peer_polars_eager import PolarsEager, frame


class PolarsStreaming(PolarsEager):
    """Streams from a file on disk to a file on disk; S3 sees one GET and one PUT."""

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        before, after = self.state / "before.parquet", self.state / "after.parquet"
        body, etag = self.read()
        before.write_bytes(body)
        del body
        new = frame(rows).sort(CURSOR, maintain_order=True)
        pl.scan_parquet(before).merge_sorted(new.lazy(), key=CURSOR).sink_parquet(after, engine="streaming")
        self.write(after.read_bytes(), etag)


if __name__ == "__main__":
    carry_out(PolarsStreaming)
