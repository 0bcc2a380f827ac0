"""Raw objects as blocks of lines, without ever holding all of their text."""

import io
from collections.abc import Iterator

from isal import igzip, isal_zlib

from services.runtime.failures import MalformedError

BLOCK_BYTES = 4 * 1024 * 1024
BLOCK_LINES = 16_384
"""Text that is judged together: enough to be fast by the column, little enough to keep memory bounded."""
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes after which what has no newline is no row."""


def blocks_of(
    body: bytes, *, block_bytes: int = BLOCK_BYTES, longest_line: int = LONGEST_LINE
) -> Iterator[list[bytes]]:
    """The lines of gzip-compressed text, a block at a time; the newline at the end opens no line of its own.

    Raises:
        MalformedError: it is not whole, not gzip, or has a line without an end.
    """
    rest = b""
    with igzip.IGzipFile(fileobj=io.BytesIO(body)) as packed:  # type: ignore[no-untyped-call]
        while chunk := _read(packed, block_bytes):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > longest_line:
                raise MalformedError(f"a line is longer than {longest_line} bytes")
            for start in range(0, len(lines), BLOCK_LINES):
                yield lines[start : start + BLOCK_LINES]
    if rest:
        yield [rest]


def _read(packed: igzip.IGzipFile, size: int) -> bytes:
    try:
        return packed.read(size)
    except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc] # its stub declares an instance
        raise MalformedError(f"it is not whole gzip data: {error}") from error
