"""Reads the end of a file: its footer, the groups it names, and the footer that stands before any of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from services.merger.adapters.append.layout import LAYOUT_KEY, Layout
from services.merger.adapters.append.writer import MAGIC, TRAILER_BYTES
from services.merger.adapters.tables import COMMIT_KEY
from services.merger.core.append import Group
from services.merger.core.commits import STAMP_COMMIT
from services.runtime.objects import ObjectInfo


class ForeignFileError(Exception):
    """A file that cannot be appended to: another writer's, another layout's, or not what its footer says."""


@dataclass(frozen=True, slots=True)
class Footer:
    """A file's footer, and its groups in the terms of ``core.append``."""

    metadata: pq.FileMetaData
    groups: tuple[Group, ...]

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return int(self.metadata.num_rows)

    @property
    def greatest(self) -> int | None:
        """Greatest value of the ordering column; None where there are no rows."""
        return self.groups[-1].greatest if self.groups else None


@dataclass(frozen=True, slots=True)
class Ending:
    """The last bytes of a file, from ``start`` on."""

    start: int
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.start + len(self.body)

    def between(self, start: int, end: int) -> bytes:
        """Bytes ``[start, end)`` of the file.

        Raises:
            ForeignFileError: they are not among the last ones, or are no range.
        """
        if not self.start <= start <= end <= self.size:
            raise ForeignFileError(f"bytes {start} to {end} are not among {self.start} to {self.size}")
        return self.body[start - self.start : end - self.start]


def footer_start(ending: Ending, end: int | None = None) -> int:
    """Where the footer begins that ends at ``end``, or at the end of the file; it may lie before the ending's start.

    Raises:
        ForeignFileError: nothing ends there.
    """
    end = ending.size if end is None else end
    trailer = ending.between(end - TRAILER_BYTES, end)
    if not trailer.endswith(MAGIC):
        raise ForeignFileError(f"no footer ends at byte {end}")
    return end - TRAILER_BYTES - int.from_bytes(trailer[: -len(MAGIC)], "little")


def read_footer(ending: Ending, layout: Layout, base: ObjectInfo) -> Footer:
    """The footer of a file that may be appended to.

    The mark alone would not do, because a writer may carry metadata on: only an object that bears the commit that the
    file names, too, was written by us.

    Raises:
        ForeignFileError: it may not be appended to.
    """
    begin = footer_start(ending)
    metadata = _parsed(ending.between(begin, ending.size))
    stamps: Mapping[bytes, bytes] = metadata.metadata or {}
    if stamps.get(LAYOUT_KEY) != layout.mark:
        raise ForeignFileError(f"its layout is {stamps.get(LAYOUT_KEY)!r}")
    if stamps.get(COMMIT_KEY) != base.metadata.get(STAMP_COMMIT, "").encode():
        raise ForeignFileError("its content and its object name different commits")
    if not metadata.schema.to_arrow_schema().remove_metadata().equals(layout.schema):
        raise ForeignFileError("its columns are others")
    groups = groups_of(metadata, layout)
    at, order = len(MAGIC), None
    for group in groups:
        if not at <= group.start < group.end or (order is not None and order > group.least):
            raise ForeignFileError(f"the group at byte {group.start} is not where it belongs")
        at, order = group.end, group.greatest
    if at > begin:
        raise ForeignFileError("its groups reach into its footer")
    return Footer(metadata, groups)


def footer_before(ending: Ending, footer: Footer, kept: int, layout: Layout) -> Footer:
    """The footer of the first ``kept`` groups, which stands right before the group after them.

    Raises:
        ForeignFileError: what stands there is something else.
    """
    end = footer.groups[kept].start
    begin = footer_start(ending, end)
    if begin < footer.groups[kept - 1].end:
        raise ForeignFileError(f"the footer that ends at byte {end} is too long")
    metadata = _parsed(ending.between(begin, end))
    before = Footer(metadata, groups_of(metadata, layout))
    if metadata.schema != footer.metadata.schema or before.groups != footer.groups[:kept]:
        raise ForeignFileError(f"the footer that ends at byte {end} is not that of the first {kept} groups")
    return before


def groups_of(metadata: pq.FileMetaData, layout: Layout) -> tuple[Group, ...]:
    """The groups that a footer names.

    Raises:
        ForeignFileError: one does not say what its extremes are.
    """
    paths = [metadata.schema.column(leaf).path for leaf in range(metadata.num_columns)]
    ordering = paths.index(layout.order_by)
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        statistics = group.column(ordering).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
            raise ForeignFileError(f"group {number} does not say where in the order it stands")
        last = group.column(len(paths) - 1)
        found.append(
            Group(
                rows=group.num_rows,
                start=_start(group.column(0)),
                end=_start(last) + last.total_compressed_size,
                least=int(statistics.min_raw),
                greatest=int(statistics.max_raw),
            )
        )
    return tuple(found)


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    offsets = [chunk.data_page_offset] + ([chunk.dictionary_page_offset] if chunk.has_dictionary_page else [])
    return int(min(offsets))


def _parsed(body: bytes) -> pq.FileMetaData:
    try:
        return pq.read_metadata(pa.BufferReader(body))
    except (pa.ArrowException, OSError) as error:
        raise ForeignFileError(f"its footer cannot be read: {error}") from error
