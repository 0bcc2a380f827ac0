"""What only the chunk worker needs from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from contracts.chunks import ChunkKeys, ChunkPlan
from contracts.envelope import Json
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.ports import AnalyticsSources, ChunkLedger, ChunkPlans, JobDatabases
from services.runtime.clock import Clock
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.leases import Leases
from services.runtime.ledger import Ledger
from services.runtime.publishing import Publisher
from services.runtime.telemetry import Telemetry


class ChunkTimeoutError(PermanentError):
    """A statement took longer than the job allows: a smaller chunk may help, the same one again hardly."""


class NoSlotError(TemporaryError):
    """As many chunks are being updated as the job allows at the same time; ``delay`` is when to look again."""


class TableState(StrEnum):
    """Where a chunk stands in the database's own ledger, which decides."""

    PLANNED = "planned"
    MARKED = "marked"
    DONE = "done"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Work:
    """One chunk, or one part of it, in the hands of the holder of a lease."""

    job: LoadedJob
    run_id: str
    chunk_id: str
    token: int
    """Fencing token of the lease."""
    rows: int
    """Rows when the plan was made."""
    keys: ChunkKeys | None
    """None: everything there is, in one piece."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A chunk as the database knows it."""

    state: TableState | None
    """None: it was never registered."""
    token: int
    attempts: int
    updated_rows: int | None
    snapshot_run: str | None
    """The run whose snapshot there is; None where the job has never run."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A chunk is ours: nobody with an older token can do anything to it any more."""

    attempts: int
    """How often it was claimed without being done, this time included."""
    marked: int = 0
    """Rows that people see as locked now."""


@dataclass(frozen=True, slots=True)
class Updated:
    """A chunk is done."""

    rows: int
    gone: int = 0
    """Planned rows that were deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the database does; None where that cannot be said."""

    replication_lag_s: float | None
    lock_waits: int
    dead_tuple_ratio: float | None


class ChunkTables(Protocol):
    """Chunks in the database that their job works in: the protocol of services/runtime/postgres/chunk_sql.

    Connections are as many as the settings allow and no more; who finds none free waits. Every method raises
    PermanentError with the server's own words where it refuses, ChunkTimeoutError where a statement took too long, and
    TemporaryError where the server does not answer now or breaks off (then whatever was asked may have happened).
    Cancelling a call ends its transaction.
    """

    async def standing(self, job: LoadedJob, run_id: str, chunk_id: str) -> Standing:
        """A chunk as it stands."""
        ...

    async def claim(self, work: Work, *, mark: bool) -> Claimed | None:
        """Take a chunk over, and mark its rows if asked to, in one transaction; None if that is refused."""
        ...

    async def update(self, work: Work) -> Updated | None:
        """Fence, work on the rows and note it, in one transaction; None if the fence refuses.

        Raises:
            PermanentError: rows are unaccounted for; nothing was changed.
            NoSlotError: no slot is free; nothing was changed.
        """
        ...

    async def split(self, work: Work, parts: Sequence[tuple[str, int]]) -> bool:
        """Give a claimed chunk up for its parts (ids and rows), in one transaction; False if that is refused."""
        ...

    async def blameless(self, work: Work) -> None:
        """The attempt ended for reasons that are not the chunk's: it does not count."""
        ...

    async def health(self, job: LoadedJob) -> Health:
        """How the database does."""
        ...

    async def check(self, job: LoadedJob) -> str:
        """Ask it something; what it is and as whom it was asked, for people."""
        ...


class Answers(Protocol):
    """Tells state machines what became of the tasks they wait for. An answer nobody waits for any more is no error."""

    async def succeed(self, token: str, result: Json) -> bool:
        """The task is done; False if nobody waits for it any more."""
        ...

    async def fail(self, token: str, error: str, cause: str) -> bool:
        """The task failed: ``error`` is the name that retries go by; False if nobody waits for it any more."""
        ...

    async def heartbeat(self, token: str) -> bool:
        """Somebody is at it; False if nobody waits for it any more."""
        ...


class Places(Protocol):
    """Where the databases of jobs are, as far as their secrets say so."""

    async def place(self, job: LoadedJob) -> str:
        """The job's database, for people: never who connects, nor with what.

        Raises:
            PermanentError: the secret is not there, may not be read, or does not say how to connect.
            TemporaryError, UnreachableError: it cannot be read now.
        """
        ...


@dataclass(slots=True)
class Memory:
    """What a process remembers from one chunk to the next; it may forget all of it."""

    paces: dict[str, float] = field(default_factory=dict)
    """Rows per second, by job."""
    plans: dict[str, ChunkPlan] = field(default_factory=dict)
    """Plans of runs, which never change."""
    health: dict[str, tuple[float, Health]] = field(default_factory=dict)
    """How each job's database did, and when that was, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use case works with."""

    jobs: Mapping[str, LoadedJob]
    tables: ChunkTables
    answers: Answers
    places: Places
    databases: JobDatabases
    analytics: AnalyticsSources
    plans: ChunkPlans
    planning: ChunkPlanning
    completion: ChunkCompletion
    ledger: Ledger
    chunks: ChunkLedger
    leases: Leases
    publisher: Publisher
    telemetry: Telemetry
    clock: Clock
    owner: str
    """This process, for people."""
    lease_ttl_s: float
    overtake_after_s: float = 900.0
    """Seconds without a sign of life after which an unfinished run gives way to another one of its job."""
    memory: Memory = field(default_factory=Memory)
