"""What is merged: rows of a table, batches for it, and what must be in the table in the end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from bench.append_merge import NEW_ROWS, STEP, events
from bench.merge import reader

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Work:
    """Local Parquet files: of a table of so many rows, and of the batches of each kind, in the order of merging."""

    rows: int
    base: Sequence[Path]
    batches: Mapping[str, Sequence[Path]]
    digests: Mapping[Path, reader.Digest]
    day: str
    participant: str

    def wanted(self, files: Iterable[Path]) -> str:
        """The digest of a table of these files."""
        return str(sum((self.digests[file] for file in files), reader.Digest(0, 0)))


def made(folder: Path, rows: int, batches: Mapping[str, Sequence[float]]) -> Work:
    """Write them.

    Args:
        folder: for the files.
        rows: of the table.
        batches: of each kind, for each batch the share of its rows that come a day late.
    """
    base = [
        written(folder / f"base-{first}.parquet", events(first, min(STEP, rows - first), 0))
        for first in range(0, rows, STEP)
    ]
    found: dict[str, list[Path]] = {}
    first = rows
    for kind, shares in batches.items():
        for share in shares:
            found.setdefault(kind, []).append(
                written(folder / f"{kind}-{first}.parquet", events(first, NEW_ROWS, share))
            )
            first += NEW_ROWS
    files = [*base, *(file for some in found.values() for file in some)]
    return Work(
        rows=rows,
        base=base,
        batches=found,
        digests={file: reader.digest(pl.read_parquet(file)) for file in files},
        day=(EPOCH + timedelta(seconds=rows // 2)).date().isoformat(),
        participant=str(pl.read_parquet(base[0], columns=[reader.PARTICIPANT], n_rows=1).item()),
    )


def written(path: Path, rows: pa.Table) -> Path:
    """A local Parquet file."""
    pq.write_table(rows, path)
    return path
