"""The conservation table of a chunked run: every row of the plan was updated, or is gone, or is still to come."""

from collections.abc import Sequence

from services.runtime.chunking.ports import ChunkEntry, ChunkState
from services.runtime.conservation import Conservation, Hop
from services.runtime.ledger import Run


def conserve_chunks(run: Run, chunks: Sequence[ChunkEntry]) -> Conservation:
    """Draw up the table of a run from its chunks; failed chunks count as rows that are still to come.

    A job that works on no snapshot may find more rows of a key than the plan did: they count as received, too.
    """
    done = [chunk for chunk in chunks if chunk.state is ChunkState.DONE]
    open_ = [chunk for chunk in chunks if chunk.state is not ChunkState.DONE]
    planned = sum(chunk.rows for chunk in chunks)
    joined = sum(max(0, (chunk.updated or 0) + chunk.gone - chunk.rows) for chunk in done)
    listed = run.scan.listed
    plan = Hop(name="plan", received=listed, passed_on=planned)
    update = Hop(
        name="update",
        received=planned + joined,
        passed_on=sum(chunk.updated or 0 for chunk in done),
        ignored=sum(chunk.gone for chunk in done),
        pending=sum(chunk.rows for chunk in open_),
    )
    hops = [plan, update]
    # Before the plan is complete, its chunks are still being entered.
    problems = [
        f"{hop.name}: {hop.missing} of {hop.received} unaccounted for"
        for hop in hops
        if hop.missing and run.planned is not None
    ]
    return Conservation(tuple(hops), tuple(problems), pending_segments=len(open_))
