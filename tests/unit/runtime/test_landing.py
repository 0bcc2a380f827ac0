"""The framing of landing files."""

import io

import pytest

from contracts.fields import EntityField
from contracts.loads import DayRows, Landing
from contracts.runs import LoadType
from services.runtime.failures import MalformedError
from services.runtime.landing import END_BYTES, MAGIC, LandingWriter, read_trailer, trailer_length


def sealed(*streams: bytes) -> tuple[bytes, Landing]:
    """A file with these streams, a row a byte, and its trailer."""
    file = io.BytesIO()
    writer = LandingWriter(file)
    for stream in streams:
        writer.add(stream, [DayRows(date="2025-03-01", rows=len(stream)), DayRows(date=None, rows=1)])
    landing = Landing(
        pipeline="shop.orders",
        run_id="r",
        segment_id="s",
        load_type=LoadType.FULL,
        fields=[EntityField(name="id", type="int64")],
        rows=writer.rows,
        chunks=writer.chunks,
    )
    writer.seal(landing)
    return file.getvalue(), landing


def test_the_trailer_says_where_each_stream_is() -> None:
    """Streams are read back byte for byte by their offsets."""
    body, landing = sealed(b"one", b"three")
    assert read_trailer(body, "f") == landing
    assert [body[chunk.offset : chunk.offset + chunk.length] for chunk in landing.chunks] == [b"one", b"three"]
    assert [chunk.rows for chunk in landing.chunks] == [4, 6]
    assert landing.rows == 10


def test_the_end_of_a_file_says_how_much_of_it_is_the_trailer() -> None:
    """So a reader asks for as much as it needs and no more."""
    body, landing = sealed(b"x" * 1000)
    length = trailer_length(body[-END_BYTES:], "f")
    assert read_trailer(body[-length:], "f") == landing
    with pytest.raises(MalformedError, match=r"f: its trailer is \d+ bytes long, and the file has 20"):
        read_trailer(body[-20:], "f")


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_file_that_is_cut_off_is_refused(cut: int) -> None:
    """Wherever it was cut."""
    body, _ = sealed(b"abc")
    with pytest.raises(MalformedError, match="f is not a landing file, or it is cut off"):
        read_trailer(body[:-cut], "f")


def test_a_trailer_that_is_no_trailer_is_refused_with_the_place() -> None:
    """The text names the first thing that is wrong."""
    trailer = b'{"pipeline": 1}'
    with pytest.raises(MalformedError, match="f: its trailer is not one: pipeline: "):
        read_trailer(trailer + len(trailer).to_bytes(8, "big") + MAGIC, "f")
