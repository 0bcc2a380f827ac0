"""Rows of landing files and their lineage as the Parquet parts of one group; no I/O but spooling large parts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.fields import LINEAGE, EntityField
from contracts.loads import GroupResult, LandedSegment, LoadManifest, LoadPart, PartGroup, PlannedPart, SegmentShare
from contracts.sources import EntitySource, RestSource
from services.merger.adapters.chunks import ChunkBytes
from services.merger.adapters.types import (
    INGESTION_ID,
    INGESTION_TS,
    RECORD_HASH,
    SOURCE_SYSTEM,
    cursor_text,
    measured,
    repetitive,
    schema_of,
)
from services.merger.core.duplicates import Identities, joined, new_rows
from services.merger.core.loads import Piece
from services.merger.core.record_hash import record_digests, text_of

ROW_GROUP_ROWS = 131_072
IN_MEMORY_BYTES = 32 * 1024 * 1024
"""Bytes of a part that are kept in memory while it is written; what is more goes to the disk."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """What is the same for all parts of a load."""

    fields: tuple[EntityField, ...]
    key: tuple[EntityField, ...]
    cursor: EntityField | None
    """None where the load has keys only."""
    rows: pa.Schema
    ingestion_ts: pa.Scalar
    system: str
    ingestion_id: str
    by_hash: bool
    """Whether parts of one date share its rows by hash: only where a source may give the same record twice."""

    @classmethod
    def of(cls, source: EntitySource, manifest: LoadManifest) -> "Shapes":
        """Those of a load from this source."""
        fields = {each.name: each for each in manifest.fields}
        return cls(
            fields=tuple(manifest.fields),
            key=tuple(fields[name] for name in source.key),
            cursor=fields.get(source.cursor),
            rows=schema_of(manifest.fields),
            ingestion_ts=pa.scalar(datetime.fromisoformat(manifest.ingestion_ts), pa.timestamp("us", tz="UTC")),
            system=source.system,
            ingestion_id=manifest.ingestion_id,
            by_hash=isinstance(source, RestSource),
        )

    def with_lineage(self, rows: pa.Table, digests: pa.Array) -> pa.Table:
        """Rows as bronze has them."""
        count = rows.num_rows
        columns = {
            INGESTION_TS: pa.repeat(self.ingestion_ts, count),
            SOURCE_SYSTEM: _repeated(self.system, count),
            RECORD_HASH: text_of(digests),
            INGESTION_ID: _repeated(self.ingestion_id, count),
        }
        for each in LINEAGE:
            rows = rows.append_column(each.name, columns[each.name])
        return rows

    def writer(self, file: BinaryIO, rows: pa.Table) -> pq.ParquetWriter:
        """A writer for a part that begins with these rows."""
        key = [each.name for each in self.key]
        return pq.ParquetWriter(
            file,
            rows.schema,
            compression="snappy",
            use_dictionary=repetitive(rows, key),
            write_statistics=measured(self.fields, key),
            store_schema=False,  # types are those of Parquet, whoever reads
            store_decimal_as_integer=True,
        )


class GroupWriter:
    """Takes the windows of a group in order, and has its parts in the end.

    ``remembers``: rows of one window may come again in another; a table's slices and keys prove that they do not.
    """

    def __init__(
        self,
        shapes: Shapes,
        group: PartGroup,
        known: Mapping[str | None, Identities],
        files: ExitStack,
        *,
        remembers: bool,
    ) -> None:
        self._shapes = shapes
        self._remembers = remembers
        self._parts = [_Part(part, shapes, known.get(part.date), files) for part in group.parts]
        self._merged: dict[int, int] = {}
        self._duplicates: dict[int, int] = {}

    def take(self, window: Sequence[Piece], chunks: ChunkBytes) -> None:
        """Add a window's rows to their parts.

        Raises:
            CorruptCheckpointError: a chunk is not what the validator saw.
        """
        tables = [chunks.rows(piece, self._shapes.rows) for piece in window]
        rows = pa.concat_tables(tables).combine_chunks()
        del tables
        chunks.forget()
        digests = record_digests(rows, self._shapes.fields)
        start = 0
        for number, pieces in groupby(window, key=lambda piece: piece.part):
            own = list(pieces)
            length = sum(piece.rows for piece in own)
            self._take(self._parts[number], own, rows.slice(start, length), digests.slice(start, length))
            start += length

    def _take(self, part: "_Part", pieces: Sequence[Piece], rows: pa.Table, digests: pa.Array) -> None:
        mine = part.share_of(digests) if self._shapes.by_hash else None
        if mine is not None:
            rows, digests = rows.filter(mine), digests.filter(mine)
        new = new_rows(rows, self._shapes.key, digests, part.known)
        if new is not None:
            rows, digests = rows.filter(new), digests.filter(new)
        start = 0
        kept = new if mine is None or new is None else pc.replace_with_mask(mine, mine, new)
        for piece in pieces:
            taken = _count(mine, start, piece.rows)
            merged = taken if new is None else _count(kept, start, piece.rows)
            self._merged[piece.segment] = self._merged.get(piece.segment, 0) + merged
            self._duplicates[piece.segment] = self._duplicates.get(piece.segment, 0) + taken - merged
            start += piece.rows
        if rows.num_rows:
            part.write(rows, digests, remember=self._remembers)

    def close(self) -> None:
        """Complete the parts; nothing can be added any more."""
        for part in self._parts:
            part.close()

    def bodies(self) -> Iterator[tuple[str, bytes | BinaryIO]]:
        """Key and content of each part that has rows."""
        for part in self._parts:
            if part.rows:
                yield part.planned.key, part.body()

    def result(self, segments: Sequence[LandedSegment]) -> GroupResult:
        """What the group wrote."""
        return GroupResult(
            parts=[part.written() for part in self._parts if part.rows],
            segments={
                segments[number].segment_id: SegmentShare(merged=merged, duplicates=self._duplicates[number])
                for number, merged in sorted(self._merged.items())
            },
        )


class _Part:
    """One part while it is written; without rows it is none."""

    def __init__(self, planned: PlannedPart, shapes: Shapes, known: Identities | None, files: ExitStack) -> None:
        self.planned = planned
        self.known = known
        self.rows = 0
        self._shapes = shapes
        self._files = files
        self._file: SpooledTemporaryFile[bytes] | None = None
        self._writer: pq.ParquetWriter | None = None
        self._greatest: datetime | None = None
        self._size = 0

    def share_of(self, digests: pa.Array) -> pa.Array | None:
        """Which rows are this part's; None: all of them."""
        if self.planned.shares == 1:
            return None
        starts = pc.binary_slice(digests, 0, 4).cast(pa.binary()).cast(pa.binary(4)).view(pa.int32()).cast(pa.int64())
        positive = pc.add(starts, 1 << 31)
        whole = pc.multiply(pc.divide(positive, self.planned.shares), self.planned.shares)
        return pc.equal(pc.subtract(positive, whole), self.planned.share)

    def write(self, rows: pa.Table, digests: pa.Array, *, remember: bool) -> None:
        """Add rows that are new."""
        if remember:
            mine = Identities.of(rows, self._shapes.key, digests)
            self.known = joined([*([] if self.known is None else [self.known]), mine])
        if self._shapes.cursor is not None:
            highest = pc.max(rows.column(self._shapes.cursor.name)).as_py()
            self._greatest = max(filter(None, (self._greatest, highest)), default=None)
        self.rows += rows.num_rows
        self._open(table := self._shapes.with_lineage(rows, digests)).write_table(table, ROW_GROUP_ROWS)

    def _open(self, table: pa.Table) -> pq.ParquetWriter:
        if self._writer is None:
            self._file = self._files.enter_context(SpooledTemporaryFile(IN_MEMORY_BYTES))  # noqa: SIM115 - so it is
            self._writer = self._shapes.writer(cast("BinaryIO", self._file), table)
        return self._writer

    def close(self) -> None:
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._size = self._file.tell()

    def body(self) -> bytes | BinaryIO:
        if self._file is None:
            raise ValueError(f"{self.planned.key} has no rows")
        self._file.seek(0)
        return self._file.read() if self._size <= IN_MEMORY_BYTES else cast("BinaryIO", self._file)

    def written(self) -> LoadPart:
        return LoadPart(
            key=self.planned.key,
            date=self.planned.date,
            rows=self.rows,
            size=self._size,
            greatest_cursor=cursor_text(self._greatest),
        )


def release_memory() -> None:
    """Give back what a group needed: allocators keep it, and a process writes many groups."""
    pa.default_memory_pool().release_unused()


def _count(mask: pa.Array | None, start: int, rows: int) -> int:
    return rows if mask is None else int(pc.sum(mask.slice(start, rows), min_count=0).as_py())


def _repeated(text: str, count: int) -> pa.DictionaryArray:
    """One value, once: Parquet keeps it so, and nothing here writes it out for each row."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([text]))
