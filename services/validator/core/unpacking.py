"""Raw objects as blocks of lines, without ever holding all of their text."""

import gzip
import io
import zlib
from collections.abc import Iterator

from services.runtime.failures import MalformedError

BLOCK_BYTES = 8 * 1024 * 1024
"""Text that is judged together: enough to be fast by the column, little enough to keep memory bounded."""
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes after which what has no newline is no row."""


def blocks_of(body: bytes, *, block_bytes: int = BLOCK_BYTES) -> Iterator[list[bytes]]:
    """The lines of gzip-compressed text, a block at a time; the newline at the end opens no line of its own.

    Raises:
        MalformedError: it is not whole, not gzip, or has a line without an end.
    """
    rest = b""
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
        while chunk := _read(packed, block_bytes):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise MalformedError(f"a line is longer than {LONGEST_LINE} bytes")
            if lines:
                yield lines
    if rest:
        yield [rest]


def _read(packed: gzip.GzipFile, size: int) -> bytes:
    try:
        return packed.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise MalformedError(f"it is not whole gzip data: {error}") from error
