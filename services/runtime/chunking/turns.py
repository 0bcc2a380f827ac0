"""Runs of one chunked job take turns: each exchanges the snapshot that all chunks of the one before it need."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import ChunkEntry
from services.runtime.ledger import Run

STANDS_STILL = "it showed no sign of life for {:,.0f} s"
"""Why a run was overtaken; the number are the seconds that were waited for one."""


@dataclass(frozen=True, slots=True)
class Occupied:
    """Another run needs the snapshot; ``seconds`` until it counts as dead if it gives no further sign of life."""

    run: Run
    seconds: float

    def __str__(self) -> str:
        """In words, for who waits."""
        name = f"run {self.run.run_id} of {self.run.pipeline}"
        return f"{name} is paused: resume or cancel it" if self.run.paused else f"{name} has not ended yet"


def silence_allowed(job: LoadedJob, exclusive_for: timedelta) -> timedelta:
    """How long a run may give no sign of life: a worker may have to wait for two statements, each as long as may be.

    They are the marking and the update of a chunk, or the updates of its two parts.
    """
    database = job.job.database
    return max(exclusive_for, timedelta(seconds=2 * database.statement_timeout_s + database.lock_timeout_s))


def occupied(run: Run, entries: list[ChunkEntry], now: datetime, allowed: timedelta) -> Occupied | None:
    """Whether an unfinished run still needs the snapshot; None where it stands still, and may be overtaken.

    A run that an operator holds is never overtaken.
    """
    signs = [run.started_at, run.resumed_at, *(entry.updated_at for entry in entries)]
    last = max(datetime.fromisoformat(sign) for sign in signs if sign)
    left = allowed - (now - last)
    if run.paused:
        return Occupied(run, allowed.total_seconds())
    return Occupied(run, left.total_seconds()) if left > timedelta() else None
