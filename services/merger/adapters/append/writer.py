"""Writes the end of a file of which the beginning lies elsewhere."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from services.merger.adapters.append.layout import Layout

MAGIC = b"PAR1"
TRAILER_BYTES = 8
"""Length of the footer, four bytes little-endian, and the magic."""
_ZEROS = pa.py_buffer(bytes(16 * 1024 * 1024))


class GroupWriter:
    """Row groups with absolute offsets, each followed by a footer of all groups up to it.

    ``offset`` is where the first byte will lie: 0, or behind a complete file whose footer is ``prior``.
    """

    def __init__(self, layout: Layout, commit_id: str, offset: int, prior: pq.FileMetaData | None) -> None:
        self._layout = layout
        self._offset = offset
        self._footer = _without_groups(layout, commit_id)
        if prior is not None:
            self._footer.append_row_groups(prior)

    @property
    def footer(self) -> pq.FileMetaData:
        """That of all groups so far."""
        return self._footer

    def group(self, rows: pa.Table) -> bytes:
        """Rows as one group and the footer after it."""
        sink = _After(self._offset)
        self._footer.append_row_groups(_group(self._layout, rows, self._offset, sink))
        sink.write(footer_bytes(self._footer))
        return self._advance(sink.taken())

    def end(self) -> bytes:
        """A footer alone: what a file ends with that gets no new group."""
        return self._advance((b"" if self._offset else MAGIC) + footer_bytes(self._footer))

    def _advance(self, written: bytes) -> bytes:
        self._offset += len(written)
        return written


def footer_bytes(footer: pq.FileMetaData) -> bytes:
    """A footer as it stands at the end of a file."""
    sink = io.BytesIO()
    footer.write_metadata_file(sink)
    return sink.getvalue()[len(MAGIC) :]


def _without_groups(layout: Layout, commit_id: str) -> pq.FileMetaData:
    collected: list[pq.FileMetaData] = []
    writer = layout.writer(pa.BufferOutputStream(), collected)
    writer.add_key_value_metadata(layout.stamps(commit_id))
    writer.close()
    return collected[0]


def _group(layout: Layout, rows: pa.Table, offset: int, kept: "_After") -> pq.FileMetaData:
    """A writer of its own for each group: page indexes are written at its end, so they lie inside the group's bytes.

    A writer counts what it has written; zeros that nobody keeps bring it to the offset.
    """
    collected: list[pq.FileMetaData] = []
    with pa.PythonFile(kept, "w") as sink:
        writer = layout.writer(sink, collected)
        left = offset - len(MAGIC)
        while left > 0:
            zeros = _ZEROS.slice(0, min(left, _ZEROS.size))
            sink.write(zeros)
            left -= zeros.size
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        writer.close()
    kept.drop_footer()
    return collected[0]


class _After(io.RawIOBase):
    """A file that forgets its first bytes."""

    def __init__(self, forgotten: int) -> None:
        super().__init__()
        self._left = forgotten
        self._kept = io.BytesIO()

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        size = len(data)
        if size <= self._left:
            self._left -= size
            return size
        self._kept.write(memoryview(data)[self._left :])
        self._left = 0
        return size

    def close(self) -> None:
        """More will follow what Parquet's writer ends with."""

    def drop_footer(self) -> None:
        """Forget the footer that was written last."""
        end = self._kept.seek(0, io.SEEK_END)
        self._kept.seek(end - TRAILER_BYTES)
        length = int.from_bytes(self._kept.read(TRAILER_BYTES - len(MAGIC)), "little")
        self._kept.truncate(self._kept.seek(end - TRAILER_BYTES - length))

    def taken(self) -> bytes:
        """What was not forgotten."""
        return self._kept.getvalue()
