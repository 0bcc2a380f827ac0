"""One deployment of the chunk worker over fakes: a job, its database, a ledger, and processes that reach them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from contracts.chunks import ActionName, ActionPayload, ChunkPayload, ProcessChunk, RunAction
from contracts.envelope import Message, Payload
from contracts.runs import RunState
from services.chunk_worker.core.tasks import DLQ
from services.chunk_worker.ports import Memory, Ports, Work
from services.chunk_worker.use_case import act_directly, work_batch
from services.runtime.chunking.completion import ChunkCompletion
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.chunking.planning import ChunkPlanning
from services.runtime.chunking.plans import StoredChunkPlans
from services.runtime.chunking.ports import ChunkEntry, KeyRows
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import PermanentError
from services.runtime.leases import Lease
from services.runtime.ledger import Run
from services.runtime.settings import PROJECT
from tests.fakes.answers import FakeAnswers
from tests.fakes.chunk_ledger import FakeChunkLedger
from tests.fakes.chunk_tables import FakeChunkDatabase, FakeChunkTables
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.job_databases import FakeAnalyticsSources, FakeJobDatabases
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry

DECLARED = load_jobs(PROJECT / "pipelines", {})
NAME = "conflict_report"
RUN = "run-1"
STATE = "state"
TTL_S = 60.0
TOKEN = "token-1"  # noqa: S105 - it opens nothing


def key(number: int, rows: int = 5) -> KeyRows:
    """A key: one caregiver on one day."""
    return KeyRows((f"2026-01-{number % 28 + 1:02}", f"ssn-{number}"), rows)


def declared(job: Mapping[str, Any] | None = None, **chunks: Any) -> LoadedJob:
    """The job with some of it declared otherwise; chunks are two keys of five rows unless it says so."""
    found = DECLARED[NAME]
    sizes = found.job.chunks.model_copy(update={"target_rows": 10, **chunks})
    return LoadedJob(found.job.model_copy(update={"chunks": sizes, **(job or {})}), found.texts)


class World:
    """What processes share."""

    def __init__(self, keys: int = 4, job: LoadedJob | None = None) -> None:
        self.job = job or declared()
        self.clock = ManualClock()
        self.database = FakeChunkDatabase(keys=[key(number) for number in range(keys)])
        self.ledger = FakeLedger(self.clock)
        self.objects = FakeObjects({STATE: False}, clock=self.clock)
        self.publisher = FakePublisher(self.clock)
        self.publisher.sent[DLQ] = []
        self.answers = FakeAnswers([TOKEN])
        self.telemetry = FakeTelemetry()
        self.leases = LeaseTable()
        self.analytics = FakeAnalyticsSources()

    def ports(
        self,
        effects: Effects | None = None,
        *,
        working: Callable[[Work], Awaitable[None]] | None = None,
        memory: Memory | None = None,
        ttl_s: float = TTL_S,
    ) -> Ports:
        """What one process works with."""
        own = effects or Effects()
        ledger, publisher = self.ledger.seen_by(own), self.publisher.seen_by(own)
        chunks = FakeChunkLedger.of(ledger)
        databases = FakeJobDatabases(self.database, effects=own)
        plans = StoredChunkPlans(self.objects.seen_by(own), STATE)
        return Ports(
            jobs={self.job.name: self.job},
            tables=FakeChunkTables(self.database, effects=own, working=working),
            answers=self.answers.seen_by(own),
            places=self,
            databases=databases,
            analytics=self.analytics,
            plans=plans,
            planning=ChunkPlanning(databases, plans, ledger, chunks, self.clock),
            completion=ChunkCompletion(databases, ledger, chunks, publisher),
            ledger=ledger,
            chunks=chunks,
            leases=MortalLeases(FakeLeases(self.clock, self.leases), own),
            publisher=publisher,
            telemetry=self.telemetry,
            clock=self.clock,
            owner="worker-1",
            lease_ttl_s=ttl_s,
            memory=memory or Memory(),
        )

    async def place(self, job: LoadedJob) -> str:
        """Be the places, too."""
        self.database.meet("place")
        return f"database.example:5432/{job.name}"

    async def plan(self, run_id: str = RUN, *, whole: bool = False) -> None:
        """Open a run, take its snapshot, plan it."""
        planning = self.ports().planning
        await planning.open(self.job, run_id)
        await planning.prepare(self.job, run_id, ChunkPayload())
        await planning.plan(self.job, run_id, ChunkPayload(), whole=whole)

    def chunk(self, chunk_id: str = "0", *, token: str | None = None, run_id: str = RUN) -> ProcessChunk:
        """One command."""
        return ProcessChunk(pipeline=self.job.name, run_id=run_id, chunk_id=chunk_id, task_token=token)

    def action(self, name: ActionName, *, token: str | None = None, **payload: Any) -> RunAction:
        """Another."""
        return RunAction(
            pipeline=self.job.name, action=name, payload=ActionPayload.model_validate(payload), task_token=token
        )

    async def deliver(self, *commands: Payload, receives: int = 1, ports: Ports | None = None) -> Outcome:
        """Handle a batch; its deliveries are called m0, m1 and so on."""
        deliveries = [Delivery(f"m{place}", body(command), receives) for place, command in enumerate(commands)]
        return await work_batch(ports or self.ports(), deliveries)

    async def drive(self, command: Payload, *, receives: int = 1, most: int = 20) -> int:
        """Deliver a message until it does not come back, time passing in between; returns how often that was."""
        ports = self.ports()
        for count in range(1, most + 1):
            outcome = await self.deliver(command, receives=receives + count - 1, ports=ports)
            if not outcome.failed:
                return count
            self.clock.advance(outcome.failed["m0"] or TTL_S)
        raise AssertionError(f"the message keeps coming back: {outcome.reasons}")

    async def act(self, action: str, **payload: Any) -> dict[str, Any]:
        """Ask for an action directly; its details."""
        result = await act_directly(self.ports(), {"action": action, "payload": payload})
        assert result.status == "success"
        assert result.action == action
        return result.details

    async def run(self, run_id: str = RUN) -> Run:
        """The run."""
        found = await self.ledger.run(run_id)
        assert found is not None
        return found

    async def entry(self, chunk_id: str = "0") -> ChunkEntry:
        """What the ledger has of a chunk."""
        found = await FakeChunkLedger.of(self.ledger).chunk(RUN, chunk_id)
        assert found is not None
        return found

    def facts(self) -> list[tuple[str, str]]:
        """Kind and reason of each announcement."""
        return [(message.kind, message.body.get("reason", "")) for message in self.publisher.announced()]

    def dead(self) -> list[Message]:
        """What lies in the DLQ."""
        return self.publisher.commands(DLQ)

    def times_done(self, run_id: str = RUN) -> set[int]:
        """How often each key was worked on: {1} is what must come out."""
        return {self.database.done[run_id, each.values] for each in self.database.keys}

    async def succeeded(self, *, records: int) -> None:
        """The run has ended well, each key was worked on once, and the ledger balances."""
        assert self.times_done() == {1}
        run = await self.run()
        assert (run.state, run.failed, run.settled) == (RunState.SUCCEEDED, 0, run.planned)
        last = self.publisher.announced()[-1]
        assert (last.kind, last.body.get("records")) == ("RunCompleted", records)


class MortalLeases:
    """Leases of a process that can die: once it is dead it gives nothing back."""

    def __init__(self, leases: FakeLeases, effects: Effects) -> None:
        self._leases = leases
        self._effects = effects

    async def acquire(self, resource: str, owner: str, ttl_s: float) -> Lease:
        """See the port."""
        self._effects.reach(f"before acquire {resource}")
        lease = await self._leases.acquire(resource, owner, ttl_s)
        self._effects.reach(f"after acquire {resource}")
        return lease

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """See the port."""
        self._effects.reach(f"before renew {lease.resource}")
        return await self._leases.renew(lease, ttl_s)

    async def release(self, lease: Lease) -> None:
        """See the port."""
        self._effects.reach(f"before release {lease.resource}")
        await self._leases.release(lease)


def body(command: Payload) -> str:
    """A command as it travels."""
    run_id = str(getattr(command, "run_id", "-"))
    message = Message.wrap(command, message_id=UUID(int=1), run_id=run_id, occurred_at=ManualClock().now())
    return message.model_dump_json()


def broken(times: int = 1) -> list[Exception]:
    """A database that refuses so many times."""
    return [PermanentError("sql/task_02_chunk.sql: division by zero") for _ in range(times)]
