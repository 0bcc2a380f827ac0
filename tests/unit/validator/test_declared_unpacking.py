"""Raw objects as blocks of lines."""

import gzip

import pytest

from services.runtime.failures import MalformedError
from services.validator.core.unpacking import BLOCK_LINES, blocks_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\n", [b"a", b""]),
        (b"\n\na", [b"", b"", b"a"]),
        (b"a\r\nb\x0bc\n", [b"a\r", b"b\x0bc"]),
        (b"long line\nshort\nanother long line", [b"long line", b"short", b"another long line"]),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 3, 7, 1_000])
def test_only_a_newline_ends_a_line_wherever_blocks_end(text: bytes, expected: list[bytes], block_bytes: int) -> None:
    """An empty line is a line like any other; the last newline opens none."""
    assert [line for block in blocks_of(gzip.compress(text), block_bytes=block_bytes) for line in block] == expected


def test_a_block_has_a_bounded_number_of_lines() -> None:
    """However short they are: memory grows with lines, too."""
    blocks = [len(block) for block in blocks_of(gzip.compress(b"\n" * (2 * BLOCK_LINES + 1)))]
    assert blocks == [BLOCK_LINES, BLOCK_LINES, 1]


def test_a_line_without_an_end_is_refused() -> None:
    """Little compressed data can be a lot of text, and a row is never that long."""
    with pytest.raises(MalformedError, match="a line is longer than 10000 bytes"):
        list(blocks_of(gzip.compress(b"x" * 100_000), block_bytes=1_000, longest_line=10_000))
