"""What planning and ending the run of a chunked job need from outside."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Protocol

from contracts.chunks import ChunkKeys, ChunkOutcome, ChunkPlan, PlannedChunk
from services.runtime.chunking.jobs import LoadedJob


@dataclass(frozen=True, slots=True)
class Window:
    """The days a run covers, both included."""

    first_day: date
    last_day: date


@dataclass(frozen=True, slots=True)
class KeyRows:
    """One key, as PostgreSQL writes its values (None is NULL), and how many rows it has."""

    values: tuple[str | None, ...]
    rows: int


class JobDatabase(Protocol):
    """The database of one job, as far as a plan needs it; each call has a connection of its own.

    Every method raises PermanentError with the server's own words where it refuses, and TemporaryError where it does
    not answer now or breaks off; no text ever holds a secret.
    """

    async def prepare(self, run_id: str, window: Window) -> bool:
        """Take a run's snapshot, in one transaction; False if it was taken before.

        From then on chunks of any other run of the job are refused.
        """
        ...

    async def present_run(self) -> str | None:
        """The run whose snapshot there is."""
        ...

    def distribution(self) -> AsyncIterator[KeyRows]:
        """Every key of the snapshot, in the order in which their rows lie."""
        ...

    def preview(self, window: Window) -> AsyncIterator[KeyRows]:
        """What the distribution of a snapshot would be, taken now. Writes nothing."""
        ...

    async def register(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """Enter a run's chunks; those already entered are left alone."""
        ...

    async def retry(self, run_id: str, chunk_ids: Sequence[str]) -> None:
        """Give chunks all their attempts again, and the parts of those that were split."""
        ...

    async def finish(self, run_id: str) -> None:
        """What the job declares for the time after its last chunk. May be repeated."""
        ...


class JobDatabases(Protocol):
    """Knows the database of each job."""

    def of(self, job: LoadedJob) -> JobDatabase:
        """The database that a job's declaration names."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of another database, with the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class AnalyticsSource(Protocol):
    """The other database that a job can take its snapshot from.

    Every method raises PermanentError with the server's own words where it refuses, and TemporaryError where it does
    not answer now; no text ever holds a secret.
    """

    async def check(self) -> str:
        """Ask it something; what it is and as whom it was asked, for people."""
        ...

    def read(self, query: str, given: Sequence[str | date]) -> AsyncIterator[Batch]:
        """The rows of a query, a batch at a time."""
        ...


class AnalyticsSources(Protocol):
    """Knows the analytics database of each job."""

    def of(self, job: LoadedJob) -> AnalyticsSource:
        """The one that a job's declaration names.

        Raises:
            BadDeclarationError: it names none, or one whose extra is not installed.
        """
        ...


class ChunkPlans(Protocol):
    """Plans of chunked runs and the keys of their chunks, written once."""

    async def check_in(self, run_id: str, keys: ChunkKeys) -> str:
        """Keep the keys of a chunk; returns their digest."""
        ...

    async def keys(self, run_id: str, sha256: str) -> ChunkKeys:
        """The keys of a chunk.

        Raises:
            MissingObjectError: they are not there.
            MalformedError: what is there is not what was kept.
        """
        ...

    async def keep(self, plan: ChunkPlan) -> ChunkPlan:
        """Keep a plan unless the run has one already; returns the one that is kept."""
        ...

    async def find(self, run_id: str) -> ChunkPlan | None:
        """The plan of a run, if it was made.

        Raises:
            MalformedError: what lies in its place is not one.
        """
        ...


class ChunkState(StrEnum):
    """Where a chunk of a run stands in the run's ledger; the database's own ledger decides."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk of a run."""

    run_id: str
    chunk_id: str
    state: ChunkState
    rows: int
    """Rows when the plan was made."""
    keys: int = 0
    updated: int | None = None
    gone: int = 0
    """Rows that were deleted since the snapshot."""
    marked: int = 0
    seconds: float = 0.0
    parts: int = 0
    worker: str | None = None
    """Who took it last."""
    started_at: str | None = None
    """When that was."""
    updated_at: str = ""
    reason: str | None = None
    """Why it failed."""


class ChunkLedger(Protocol):
    """The chunks of runs; writes each step once, and repeating any call after an unknown outcome is safe.

    Raises (where a chunk must be there already): MissingObjectError, it was never entered, or its run never opened.
    """

    async def plan_chunks(self, run_id: str, chunks: Sequence[PlannedChunk]) -> None:
        """Enter planned chunks; those already entered are left alone."""
        ...

    async def chunk_started(self, run_id: str, chunk_id: str, worker: str) -> None:
        """Say who works on a chunk; one that is done is left alone."""
        ...

    async def chunk_done(self, run_id: str, chunk_id: str, outcome: ChunkOutcome, *, gone: int = 0) -> bool:
        """→ DONE, and the run's ``settled`` + 1 (and ``failed`` - 1 if it had failed), in one transaction.

        False if it was done before.
        """
        ...

    async def chunk_failed(self, run_id: str, chunk_id: str, reason: str) -> bool:
        """PLANNED → FAILED, and the run's ``failed`` + 1, in one transaction. False if it has ended before."""
        ...

    async def reopen_chunk(self, run_id: str, chunk_id: str) -> bool:
        """FAILED → PLANNED, and the run's ``failed`` - 1, in one transaction. False if it had not failed."""
        ...

    async def chunk(self, run_id: str, chunk_id: str) -> ChunkEntry | None:
        """One chunk of a run (consistent read)."""
        ...

    async def chunks(self, run_id: str) -> list[ChunkEntry]:
        """Every chunk of a run (consistent read), in the order of their numbers."""
        ...
