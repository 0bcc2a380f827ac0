"""Rows out of landing files: range reads of whole chunks, pinned to what the validator saw."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from contracts.loads import Chunk, LandedSegment
from services.merger.core.loads import Piece
from services.runtime.failures import CorruptCheckpointError
from services.runtime.objects import ObjectStore, Span

READS_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class _Range:
    """Neighbouring chunks of one segment's landing file."""

    segment: int
    chunks: tuple[Chunk, ...]

    @property
    def span(self) -> Span:
        last = self.chunks[-1]
        return Span(self.chunks[0].offset, last.offset + last.length - self.chunks[0].offset)


class ChunkBytes:
    """The chunks that a window of pieces needs, as bytes."""

    def __init__(self, streams: dict[tuple[int, int], memoryview], where: Sequence[str]) -> None:
        self._streams = streams
        self._where = where
        self._tables: dict[tuple[int, int], pa.Table] = {}

    def rows(self, piece: Piece, schema: pa.Schema) -> pa.Table:
        """The rows of a piece, with a manifest's types.

        Raises:
            CorruptCheckpointError: the chunk is not what the validator saw.
        """
        key = (piece.segment, piece.chunk.offset)
        if key not in self._tables:
            self._tables[key] = _table(self._streams[key], piece.chunk, schema, self._where[piece.segment])
        return self._tables[key].slice(piece.start, piece.rows)

    def forget(self) -> None:
        """Let go of the bytes; whoever still has rows has their own."""
        self._streams.clear()
        self._tables.clear()


async def fetch(objects: ObjectStore, segments: Sequence[LandedSegment], pieces: Sequence[Piece]) -> ChunkBytes:
    """Read what a window of pieces needs, neighbouring chunks in one request.

    Raises:
        CorruptCheckpointError: an object is not the one that the validator saw.
        MissingObjectError: one is gone.
    """
    limit = asyncio.Semaphore(READS_IN_FLIGHT)

    async def read(each: _Range) -> memoryview:
        segment = segments[each.segment]
        async with limit:
            # Not by version: landing files are written once, the ETag says whether this one was, and not every store
            # that keeps versions can cut a range out of one.
            stored = await objects.get(segment.bucket, segment.key, span=each.span)
        if stored.info.etag != segment.etag or len(stored.body) != each.span.length:
            raise CorruptCheckpointError(
                f"{_where(segment)} was replaced: its ETag is {stored.info.etag}, the validator saw {segment.etag}"
            )
        return memoryview(stored.body)

    ranges = _ranges(pieces)
    bodies = await asyncio.gather(*map(read, ranges))
    streams = {}
    for each, body in zip(ranges, bodies, strict=True):
        for chunk in each.chunks:
            start = chunk.offset - each.chunks[0].offset
            streams[each.segment, chunk.offset] = body[start : start + chunk.length]
    return ChunkBytes(streams, [_where(segment) for segment in segments])


def _ranges(pieces: Sequence[Piece]) -> list[_Range]:
    wanted: dict[int, dict[int, Chunk]] = {}
    for piece in pieces:
        wanted.setdefault(piece.segment, {})[piece.chunk.offset] = piece.chunk
    found: list[_Range] = []
    for segment, chunks in wanted.items():
        run: list[Chunk] = []
        for _, chunk in sorted(chunks.items()):
            if run and run[-1].offset + run[-1].length != chunk.offset:
                found.append(_Range(segment, tuple(run)))
                run = []
            run.append(chunk)
        found.append(_Range(segment, tuple(run)))
    return found


def _table(stream: memoryview, chunk: Chunk, schema: pa.Schema, where: str) -> pa.Table:
    try:
        table = pa.ipc.open_stream(pa.py_buffer(stream)).read_all()
        table = table.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptCheckpointError(f"{where}: the chunk at {chunk.offset} cannot be read: {error}") from error
    if table.num_rows != chunk.rows:
        raise CorruptCheckpointError(
            f"{where}: the chunk at {chunk.offset} has {table.num_rows} rows, not {chunk.rows}"
        )
    return table


def _where(segment: LandedSegment) -> str:
    return f"s3://{segment.bucket}/{segment.key}"
