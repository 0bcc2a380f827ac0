"""Merges new rows into the groups they meet, window by window, and writes what comes of it."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.merger.adapters.append.footer import Ending, Footer
from services.merger.adapters.append.layout import Layout
from services.merger.adapters.append.writer import GroupWriter
from services.merger.adapters.spans import Spans
from services.merger.adapters.tables import sort_stable
from services.runtime.failures import CorruptCheckpointError

SLICE_ROWS = 32_768
"""Old rows that are decoded at once: what a merge holds is these, and the rows of one new group."""


class TailMerge:
    """Takes rows of groups in order and gives the bytes of the new groups; what rows these have, slices do not show."""

    def __init__(self, layout: Layout, writer: GroupWriter, rows: pa.Table, group_rows: int) -> None:
        self._layout = layout
        self._writer = writer
        self._group_rows = group_rows
        self._new = sort_stable(rows, layout.order_by)
        self._order = layout.order(self._new)
        self._merged = layout.schema.empty_table()
        self._grouped = False

    def take(self, old: pa.Table, *, last: bool) -> bytes:
        """Merge the new rows that belong among these old ones; with the ``last`` ones, all that are left."""
        due = self._new.num_rows if last else self._before(self._layout.order(old))
        merged = sort_stable(pa.concat_tables([old, self._new.slice(0, due)]), self._layout.order_by)
        self._new, self._order = self._new.slice(due), self._order.slice(due)
        self._merged = pa.concat_tables([self._merged, merged])
        written = []
        while self._merged.num_rows >= self._group_rows or (last and self._merged.num_rows):
            written.append(self._writer.group(self._merged.slice(0, self._group_rows)))
            self._merged = self._merged.slice(self._group_rows)
            self._grouped = True
        if last and not self._grouped:
            written.append(self._writer.end())
        pa.default_memory_pool().release_unused()  # it would keep what every slice was decoded into for a while
        return b"".join(written)

    def _before(self, old: pa.ChunkedArray) -> int:
        """New rows before the last old one. One that ties with it waits, because old rows that follow may tie, too."""
        return int(pc.sum(pc.less(self._order, old[-1]), min_count=0).as_py())


def read_groups(piece: Ending, footer: Footer, window: tuple[int, int], layout: Layout, uri: str) -> Iterator[pa.Table]:
    """The rows of groups ``[first, after)``, whose bytes are in ``piece``, up to SLICE_ROWS at a time.

    Raises:
        CorruptCheckpointError: they cannot be read.
    """
    try:
        held = Spans(piece.start + len(piece.body))
        held.add(piece.start, piece.body)
        with pa.PythonFile(held, "r") as source:
            file = pq.ParquetFile(source, metadata=footer.metadata, pre_buffer=False)
            for batch in file.iter_batches(SLICE_ROWS, row_groups=range(*window)):
                yield pa.Table.from_batches([batch]).cast(layout.schema)
    except (pa.ArrowException, OSError) as error:
        raise CorruptCheckpointError(f"{uri} cannot be read as a checkpoint: {error}") from error
