"""Pages of records: where a range ends, and the raw object they are packed into."""

import io
from dataclasses import dataclass, replace

from isal import isal_zlib

from contracts.sources import SocrataSource
from services.runtime.datasets import Block, Position, position_of
from services.runtime.failures import PermanentError

LEVEL = 2
"""Of compression. On rows of the 311 dataset: 1,040 MB/s to 13.6 %; the standard library's level 2 makes 270 MB/s to
13.2 %, its level 6 120 MB/s to 9.7 %."""
GZIP = 16 + isal_zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the pages of a range have come."""

    position: Position | None = None
    """The last row that was read."""
    rows: int = 0
    longest: int = 0
    """Rows of the longest page."""
    passed: frozenset[Position] = frozenset()
    """Where the pages so far ended within the last row's instant."""
    ended: bool = False


def advance(progress: Progress, page: Block, source: SocrataSource, *, expected_rows: int) -> Progress:
    """Go on by one page of at most ``batch_size`` rows.

    A page without rows ends the range. A short one ends it only if it cannot be that the source caps its pages: then
    a longer one came before it, and all rows that the plan counted were read.

    Raises:
        PermanentError: the page does not move forward, so that the range would never end.
    """
    if not page.rows:
        return replace(progress, ended=True)
    reached = position_of(page.last_line, source)
    before = progress.position
    # Cursors compare as text, as those of a watermark do; the order of keys within an instant is the source's own.
    if reached in progress.passed or (before is not None and reached.cursor < before.cursor):
        raise PermanentError(
            f"{source.domain}/resource/{source.dataset}: a page after {before} ends at {reached}:"
            " the source does not page by position"
        )
    rows = progress.rows + page.rows
    is_short = page.rows < min(source.batch_size, progress.longest)
    same_instant = before is not None and before.cursor == reached.cursor
    return Progress(
        position=reached,
        rows=rows,
        longest=max(page.rows, progress.longest),
        passed=(progress.passed if same_instant else frozenset()) | {reached},
        ended=is_short and rows >= expected_rows,
    )


class RawBody:
    """The gzip-compressed lines of a raw object, growing page by page. The same lines give the same bytes.

    Memory grows with the compressed size only.
    """

    def __init__(self) -> None:
        self._compress = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP)  # writes no time into the header
        self._written = io.BytesIO()
        self.raw_bytes = 0

    def add(self, page: Block) -> None:
        """Compress a page's lines; takes some milliseconds of CPU without holding the interpreter's lock."""
        self._written.write(self._compress.compress(page.lines))
        self.raw_bytes += len(page.lines)

    def finish(self) -> bytes:
        """The whole object; nothing can be added afterwards."""
        self._written.write(self._compress.flush())
        return self._written.getvalue()
