"""What a message about a chunk means, by where the run's ledger says that its run and the chunk are."""

from enum import StrEnum

from contracts.runs import RunState
from services.runtime.chunking.ports import ChunkState


class Admission(StrEnum):
    """What is done with the message."""

    WORK = "work"
    REPEAT = "repeat"
    """The chunk is done: what may have been lost afterwards is done again."""
    REOPEN = "reopen"
    """It has failed, and is asked for again: it gets its attempts back."""
    PARKED = "parked"
    """An operator holds the run, and will have its chunks sent again."""
    CANCELLED = "cancelled"
    OVER = "over"
    """The run has ended without this chunk, and goes on only when an operator says so."""


def admission(run: RunState, chunk: ChunkState, *, paused: bool) -> Admission:
    """What to do; a cancelled run wins over everything, a done chunk over all else."""
    if run is RunState.CANCELLED:
        return Admission.CANCELLED
    if chunk is ChunkState.DONE:
        return Admission.REPEAT
    if paused:
        return Admission.PARKED
    if chunk is ChunkState.FAILED:
        return Admission.REOPEN
    return Admission.OVER if run in {RunState.FAILED, RunState.SUCCEEDED} else Admission.WORK
