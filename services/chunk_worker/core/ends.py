"""How the work on one chunk can end, whoever asked for it.

What is over after a while (a busy database, a lease that another holds) is no end but an error: the message comes back.
"""

from dataclasses import dataclass
from typing import TypeAlias

from contracts.chunks import ChunkOutcome

CHUNK_RETRY = "ChunkRetry"
CHUNK_FAILED = "ChunkFailed"
RUN_PAUSED = "RunPaused"
RUN_CANCELLED = "RunCancelled"
ACTION_FAILED = "ActionFailed"
"""Names by which a state machine knows what went wrong."""


@dataclass(frozen=True, slots=True)
class Done:
    """The chunk is done, now or since earlier, and both ledgers say so."""

    outcome: ChunkOutcome


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed, and another may not."""

    reason: str
    delay: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The chunk has failed for good, and the ledger says so if it knows the chunk."""

    reason: str
    error: str = CHUNK_FAILED
    """What a state machine is told."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """There is nothing to do for this message, although the chunk is not done."""

    error: str
    """What a state machine is told."""
    reason: str


End: TypeAlias = Done | Retry | Failed | Dropped
