"""Services over one deployment in memory, with processes that die anywhere.

Messages lie in queues and S3's events follow every put. A step takes one message, hands it to a fresh process, and puts
it back if that process died or failed. Nothing else moves, so that a walk is a sequence of choices.
"""

from collections.abc import Mapping, Sequence
from random import Random
from uuid import uuid4

from contracts.envelope import Message
from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunState
from services.runtime.completion import Completion
from services.runtime.conservation import conserve
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.mirrors import StateMirrors
from tests.fakes.checkpoints import FakeCheckpoints
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.fakes.leases import FakeLeases, LeaseTable
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.occurrences import FakeOccurrences
from tests.fakes.publishing import FakePublisher
from tests.fakes.schemas import FakeObservedSchemas
from tests.fakes.watermarks import FakeWatermarks
from tests.property.event_log_world import notification
from tests.property.table_world import TTL_S, Mortal

BUCKETS = {"raw": True, "validated": False, "quarantine": False, "checkpoints": True, "processed": True, "state": False}
STEPS = 5_000
"""More than any walk needs: a walk that takes so many does not end."""


class FleetWorld:
    """One deployment; who inherits says how each queue's messages are handled."""

    def __init__(self, pipelines: Mapping[str, Pipeline], rng: Random) -> None:
        self.pipelines = dict(pipelines)
        self.rng = rng
        self.clock = ManualClock()
        self.objects = FakeObjects(BUCKETS, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.checkpoints, self.occurrences = FakeCheckpoints(), FakeOccurrences()
        self.lease_table, self.schemas = LeaseTable(), FakeObservedSchemas(self.clock)
        self.watermarks = FakeWatermarks(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.waiting: dict[str, list[str]] = {name: [] for name in self.publisher.sent}
        self._announced = 0
        self._runs = 0
        self.deaths = 0

    async def handle(self, queue: str, effects: Effects, batch: Sequence[Delivery]) -> Outcome:
        """What a process makes of a batch of that queue."""
        raise NotImplementedError

    def next_run(self) -> str:
        """The id of a new run, a second after whatever was before."""
        self._runs += 1
        self.clock.advance(1)
        return f"run-{self._runs}"

    def ask(self, command: PlanRun) -> str:
        """Ask the planner for a run; returns its id."""
        message = Message.wrap(command, message_id=uuid4(), run_id=command.run_id, occurred_at=self.clock.now())
        self.waiting["plan-requests"].append(message.model_dump_json())
        return command.run_id

    async def settle(self, *, mortality: float = 0.0) -> None:
        """Let messages be handled, in any order, until there is none left."""
        for _ in range(STEPS):
            queues = self.busy()
            if not queues:
                return
            await self.step(self.rng.choice(queues), mortality=mortality)
        raise AssertionError(f"work does not end: {self.waiting}")

    def busy(self) -> list[str]:
        """The queues in which something waits."""
        self._spread()
        return [name for name, bodies in self.waiting.items() if bodies]

    async def step(self, queue: str, *, mortality: float = 0.0) -> None:
        """One process takes some messages of a queue, and handles them or dies; some are delivered twice."""
        count = 1 if queue in {"plan-requests", "fetch-segments"} else self.rng.randint(1, 3)
        self.rng.shuffle(self.waiting[queue])
        bodies, self.waiting[queue] = self.waiting[queue][:count], self.waiting[queue][count:]
        dies = self.rng.random() < mortality
        effects = Effects(KillSwitch(self.rng.randint(1, 40) if dies else None))
        try:
            outcome = await self.handle(queue, effects, [Delivery(str(i), body) for i, body in enumerate(bodies)])
            again = [body for i, body in enumerate(bodies) if str(i) in outcome.failed]
            if mortality and self.rng.random() < 0.1:
                again = bodies  # redelivered, though it was done
        except KilledError:
            self.deaths += 1
            again = bodies
            self.clock.advance(TTL_S)
        if again:
            self.clock.advance(TTL_S / 4)
        self.waiting[queue] += again

    def _spread(self) -> None:
        for name, sent in self.publisher.sent.items():
            self.waiting[name] += sent
            sent.clear()
        for bucket, info in self.objects.puts[self._announced :]:
            queue = {"raw": "validate-objects", "validated": "merge-segments"}.get(bucket)
            if queue is not None:
                self.waiting[queue].append(notification(bucket, info))
        self._announced = len(self.objects.puts)

    def completion(self, effects: Effects) -> Completion:
        """The end of runs as one process brings it about."""
        objects = self.objects.seen_by(effects)
        mirrors = StateMirrors(objects, self.clock)
        return Completion(
            self.ledger.seen_by(effects), self.watermarks_of(effects), self.publisher.seen_by(effects), mirrors
        )

    def watermarks_of(self, effects: Effects) -> FakeWatermarks:
        """The watermarks as one process reaches them."""
        watermarks = FakeWatermarks(self.clock, Mortal(effects))
        watermarks.records = self.watermarks.records
        return watermarks

    def leases(self, effects: Effects) -> FakeLeases:
        """The leases as one process reaches them."""
        return FakeLeases(self.clock, self.lease_table, Mortal(effects))

    def facts(self, kind: str) -> list[str]:
        """Identities of the facts of a kind, each once."""
        return sorted({message.run_id for message in self.publisher.announced() if message.kind == kind})

    async def assert_succeeded(self, run_id: str) -> int:
        """The run has succeeded and its ledger adds up; returns its new rows."""
        run = await self.ledger.run(run_id)
        assert run is not None
        assert run.state is RunState.SUCCEEDED, run
        table = conserve(run, await self.ledger.segments(run_id))
        assert (table.problems, table.pending_segments) == ((), 0)
        return table.records
