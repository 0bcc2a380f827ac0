"""One chunk that somebody asks for."""

from dataclasses import dataclass

from services.runtime.chunking.jobs import LoadedJob

QUEUE = "chunk-jobs"
DLQ = f"{QUEUE}-dlq"


@dataclass(frozen=True, slots=True)
class Task:
    """A chunk of a run, and who waits for it."""

    job: LoadedJob
    run_id: str
    chunk_id: str
    receives: int = 1
    """How often its message was received."""
    token: str | None = None
    """Of a state machine that waits."""

    @property
    def lease(self) -> str:
        """The resource whose holder may work on it."""
        return f"chunk:{self.run_id}/{self.chunk_id}"
