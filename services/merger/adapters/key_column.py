"""The unique keys of a Parquet file: what its footer says of those of each row group, and the keys themselves."""

import io
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.merger.adapters.spans import Spans
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import StoredObject

Range = tuple[str, str]
"""Least and greatest key."""
_EXACT_WRITER = "parquet-cpp-arrow"
"""Writes the extremes of texts whole, or not at all if they are longer than 4 KiB. Others cut them off, at 64 or 256
bytes, and pyarrow does not say whether a writer did."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The keys of one row group, in bytes ``[start, end)`` of the file; ``range`` is None if they may be any."""

    group: int
    rows: int
    start: int
    end: int
    range: Range | None


class Wanted:
    """Keys that are looked for."""

    def __init__(self, keys: pa.ChunkedArray) -> None:
        self._sorted = pc.drop_null(keys).combine_chunks().sort()

    def meet(self, found: Range | None) -> bool:
        """Whether one of them lies in a range; any range there may be where it is None."""
        if found is None:
            return len(self._sorted) > 0
        at = bisect_left(self._sorted, found[0], key=_text)
        return at < len(self._sorted) and _text(self._sorted[at]) <= found[1]

    def may_be_in(self, chunk: Chunk) -> bool:
        """Whether a row group may hold one of them."""
        return chunk.rows > 0 and self.meet(chunk.range)


class Everything(Wanted):
    """All keys that there are."""

    def __init__(self) -> None:
        super().__init__(pa.chunked_array([], pa.string()))

    def meet(self, found: Range | None) -> bool:
        """Yes."""
        del found
        return True


def chunks_of(metadata: pq.FileMetaData, column: str) -> tuple[Chunk, ...]:
    """Where the keys of each row group lie, and between what.

    Raises:
        KeyError: there is no such column.
    """
    paths = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    if column not in paths:
        raise KeyError(column)
    leaf, is_exact = paths.index(column), (metadata.created_by or "").startswith(_EXACT_WRITER)
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunk = group.column(leaf)
        start = chunk.data_page_offset
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            start = min(start, chunk.dictionary_page_offset)
        known = _range(chunk) if is_exact else None
        found.append(Chunk(number, group.num_rows, start, start + chunk.total_compressed_size, known))
    return tuple(found)


def read_chunks(
    metadata: pq.FileMetaData, column: str, chunks: Iterable[Chunk], source: Spans
) -> dict[int, pa.ChunkedArray]:
    """The keys of these row groups, by where each starts; raises what pyarrow raises for what it cannot read."""
    file = pq.ParquetFile(source, metadata=metadata, pre_buffer=False)
    return {
        chunk.start: file.read_row_group(chunk.group, columns=[column]).column(column).cast(pa.string())
        for chunk in chunks
    }


class KeyFile:
    """A file of which the end is in memory; what cannot be read of it is a CorruptCheckpointError that names it."""

    def __init__(self, end: StoredObject, column: str, uri: str) -> None:
        self._end, self._column, self._uri = end, column, uri
        try:
            self._metadata = pq.read_metadata(io.BytesIO(end.body))
            self.chunks = chunks_of(self._metadata, column)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise self._corrupt(error) from error

    def within(self, start: int) -> dict[int, pa.ChunkedArray]:
        """Keys of the row groups after ``start``, where the end begins."""
        return self.read([chunk for chunk in self.chunks if chunk.start >= start], start, self._end.body)

    def read(self, chunks: Sequence[Chunk], start: int, body: bytes) -> dict[int, pa.ChunkedArray]:
        """Keys of row groups that lie in these bytes, which begin at ``start``."""
        source = Spans(self._end.info.size)
        source.add(start, body)
        try:
            return read_chunks(self._metadata, self._column, chunks, source)
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(error) from error

    def _corrupt(self, error: Exception) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"{self._uri} cannot be read as a part of the table: {error}")


def range_of(keys: pa.ChunkedArray | None) -> Range | None:
    """Least and greatest of these keys; None where there are none."""
    if keys is None:
        return None
    ends = pc.min_max(keys).as_py()
    return None if ends["min"] is None else (ends["min"], ends["max"])


def joined(ranges: Sequence[Range]) -> Range | None:
    """The range that spans all of these; None of none."""
    return (min(least for least, _ in ranges), max(greatest for _, greatest in ranges)) if ranges else None


def range_with(metadata: pq.FileMetaData, column: str | None, rows: pa.Table) -> Range | None:
    """Least and greatest key of a file and of new rows, by its footer alone; None where that does not say."""
    if column is None:
        return None
    before = [chunk.range for chunk in chunks_of(metadata, column) if chunk.rows]
    new = range_of(rows.column(column))
    known = [found for found in before if found is not None]
    if len(known) < len(before):
        return None
    return joined(known if new is None else [*known, new])


def _range(chunk: pq.ColumnChunkMetaData) -> Range | None:
    found = chunk.statistics
    if found is None or not found.has_min_max or found.logical_type.type != "STRING":
        return None
    return found.min, found.max


def _text(value: pa.Scalar) -> str:
    return str(value.as_py())
