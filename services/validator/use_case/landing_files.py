"""Proving a landing file with bounded memory: its trailer first, then some of its chunks at a time."""

import asyncio
from collections.abc import Iterator, Sequence

from contracts.loads import Chunk, Landing
from services.runtime.failures import MalformedError, TemporaryError
from services.runtime.landing import TAIL_BYTES, read_trailer, trailer_length
from services.runtime.objects import ObjectInfo, Span, StoredObject
from services.validator.core.fetched import ROWS
from services.validator.core.landed.proof import Proof, check_layout
from services.validator.core.landed.segments import LandedWork, Rows, check_landing, source_of
from services.validator.ports import Ports

READ_BYTES = 8 * 1024 * 1024
"""Bytes that are read at once, unless one chunk is longer."""


async def prove_file(ports: Ports, work: LandedWork) -> Rows:
    """Prove a landing file where it lies.

    Raises:
        MalformedError: it is not whole, not the one that its key names, or not what was asked for.
        TemporaryError: it was replaced while it was read.
        MissingObjectError: it is gone.
    """
    where = f"s3://{work.location}"
    with ports.telemetry.segment("get"):
        stored = await ports.objects.get(work.bucket, work.key, span=Span(None, TAIL_BYTES))
        trailer = trailer_length(stored.body, where)
        if trailer > stored.info.size:
            raise MalformedError(f"{where}: its trailer is {trailer} bytes long, and the file has {stored.info.size}")
        tail = stored.body
        if trailer > len(tail):
            tail = await _read(ports, work, stored.info, Span(stored.info.size - trailer, trailer))
    landing = read_trailer(tail, where)
    try:
        check_landing(work, landing, stored.info.metadata.get(ROWS, ""))
        check_layout(landing, stored.info.size, trailer)
        proof = Proof(landing, source_of(work))
        await _prove(ports, work, StoredObject(tail, stored.info), landing, proof)
        proven = await asyncio.to_thread(proof.finish)
    except MalformedError as error:
        raise MalformedError(f"{where}: {error}") from error
    return Rows(work.bucket, stored.info, landing.load_type, landing.fields, landing.chunks, proven)


async def _prove(ports: Ports, work: LandedWork, tail: StoredObject, landing: Landing, proof: Proof) -> None:
    info = tail.info
    there_from = info.size - len(tail.body)
    for chunks in _groups(landing.chunks):
        start = chunks[0].offset
        end = chunks[-1].offset + chunks[-1].length
        if start >= there_from:
            body = tail.body[start - there_from : end - there_from]
        else:
            with ports.telemetry.segment("get"):
                body = await _read(ports, work, info, Span(start, end - start))
        with ports.telemetry.segment("validate"):
            await asyncio.to_thread(_take, proof, chunks, body)


def _take(proof: Proof, chunks: Sequence[Chunk], body: bytes) -> None:
    start = chunks[0].offset
    for chunk in chunks:
        proof.take(chunk, body[chunk.offset - start : chunk.offset - start + chunk.length])


def _groups(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Neighbouring chunks that are read together."""
    group: list[Chunk] = []
    for chunk in chunks:
        if group and chunk.offset + chunk.length - group[0].offset > READ_BYTES:
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


async def _read(ports: Ports, work: LandedWork, info: ObjectInfo, span: Span) -> bytes:
    """Some bytes of the object that was read first."""
    # Not by version: landing files are written once, the ETag says whether this one was, and not every store that keeps
    # versions can cut a range out of one.
    stored = await ports.objects.get(work.bucket, work.key, span=span)
    if stored.info.etag != info.etag:
        raise TemporaryError(f"s3://{work.location} was replaced while it was read")
    if len(stored.body) != span.length:
        raise MalformedError(f"it has {len(stored.body)} bytes from {span.offset} on, and should have {span.length}")
    return stored.body
