"""The framing of a landing file: Arrow IPC streams one after the other, then a trailer that says where each one is.

    stream · stream · … · trailer (JSON, a Landing) · its length (8 bytes, big-endian) · MAGIC

Each stream is complete in itself, so that rows of one day are read with one range request, by any Arrow library. This
module knows bytes only; who writes or reads rows has a library of its own for the streams.
"""

from typing import BinaryIO

from pydantic import ValidationError

from contracts.loads import Chunk, DayRows, Landing
from services.runtime.failures import MalformedError

MAGIC = b"TIDELAND"
LENGTH_BYTES = 8
END_BYTES = LENGTH_BYTES + len(MAGIC)
TAIL_BYTES = 256 * 1024
"""Bytes at a file's end that are read first; mostly the trailer is in them."""
SUFFIX = ".land"


class LandingWriter:
    """Appends chunks to a binary file and seals it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offset = file.tell()
        self.chunks: list[Chunk] = []

    @property
    def rows(self) -> int:
        """Rows so far."""
        return sum(chunk.rows for chunk in self.chunks)

    def add(self, stream: bytes | memoryview, days: list[DayRows]) -> None:
        """Append one whole IPC stream, whose rows are of these days, in this order.

        Raises:
            OSError: the file's disk is full, say.
        """
        self._file.write(stream)
        length = len(stream)
        rows = sum(day.rows for day in days)
        self.chunks.append(Chunk(offset=self._offset, length=length, rows=rows, days=days))
        self._offset += length

    def seal(self, landing: Landing) -> None:
        """Write the trailer; ``landing`` must carry this writer's chunks."""
        trailer = landing.model_dump_json().encode()
        self._file.write(trailer + len(trailer).to_bytes(LENGTH_BYTES, "big") + MAGIC)


def trailer_length(tail: bytes, where: str) -> int:
    """Bytes at the end of a landing file that hold its trailer and what ends it; ``tail`` are its last bytes.

    Raises:
        MalformedError: it is not a landing file, or it is cut off.
    """
    if len(tail) < END_BYTES or not tail.endswith(MAGIC):
        raise MalformedError(f"{where} is not a landing file, or it is cut off")
    return int.from_bytes(tail[-END_BYTES : -len(MAGIC)], "big") + END_BYTES


def read_trailer(tail: bytes, where: str) -> Landing:
    """What the trailer says; ``tail`` are the file's last bytes, at least ``trailer_length`` of them.

    Raises:
        MalformedError: it is not a landing file, or its trailer cannot be read.
    """
    length = trailer_length(tail, where)
    if length > len(tail):
        raise MalformedError(f"{where}: its trailer is {length} bytes long, and the file has {len(tail)}")
    try:
        return Landing.model_validate_json(tail[-length:-END_BYTES], extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole trailer"
        raise MalformedError(f"{where}: its trailer is not one: {place}: {first['msg']}") from error
