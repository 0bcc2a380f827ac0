"""One deployment whose messages, processes and tables suffer what AWS can do to them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from contracts.checkpoints import RestoreCheckpoint
from contracts.envelope import Message, Payload
from contracts.runs import PlanRun, RunMode, ScanPayload
from contracts.segments import Destination, Occurrence
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import TidegateError
from tests.fakes.effects import KilledError
from tests.property.event_log_world import (
    CHECKPOINTS,
    PIPELINE,
    RAW,
    VALIDATED,
    notification,
)
from tests.property.world.faults import Line, Turnstile
from tests.property.world.processes import Mutation, Processes

PLAN, VALIDATE, MERGE = "plan-requests", "validate-objects", "merge-segments"
DESTINATION = Destination(bucket=CHECKPOINTS, key=PIPELINE.target.key)
MOST_RECEIVES = 20
"""As the merger's queue allows; what fails more often is dead."""


class Observer(Protocol):
    """Looks at the deployment after every step."""

    async def look(self) -> None:
        """Raise AssertionError where a promise is broken."""
        ...


@dataclass
class Waiting:
    """A message in a queue."""

    id: str
    queue: str
    body: str
    receives: int = 0

    @property
    def announces(self) -> bool:
        """Whether it is an S3 notification: those may get lost."""
        return '"Records"' in self.body


class Deployment(Processes):
    """The world with queues that redeliver, and processes that die anywhere."""

    def __init__(self, mutation: Mutation | None = None) -> None:
        super().__init__(mutation)
        self.waiting: list[Waiting] = []
        self.handled: list[Waiting] = []
        self.dead_letters: list[Waiting] = []
        self.reasons: list[str] = []
        self._pumped = 0
        self._ids = 0

    def now_waiting(self, queue: str | None = None) -> list[Waiting]:
        """Messages that may be received, of one queue or of all."""
        self._pump()
        return [message for message in self.waiting if queue in {None, message.queue}]

    def lose(self, message: Waiting) -> None:
        """A notification that never comes."""
        assert message.announces
        self.waiting.remove(message)

    def send_again(self, message: Waiting) -> None:
        """SQS hands out a message that was handled and deleted before."""
        self._put(message.queue, message.body)

    def request(self, queue: str, payload: Payload) -> None:
        """Send a command."""
        message = Message.wrap(payload, message_id=UUID(int=1), run_id="operator", occurred_at=self.clock.now())
        self._put(queue, message.model_dump_json())

    def request_scan(self, payload: ScanPayload | None = None) -> str:
        """Ask for a scan; returns the run id."""
        return self._request_run(RunMode.SCAN, payload=payload or ScanPayload())

    def request_replay(self, occurrences: Sequence[Occurrence]) -> str:
        """Ask for these to be judged again."""
        return self._request_run(RunMode.REPLAY, occurrences=list(occurrences))

    def _request_run(self, mode: RunMode, **more: object) -> str:
        self._scans += 1
        run_id = f"{mode}-{self._scans}"
        self.request(PLAN, PlanRun.model_validate({"pipeline": PIPELINE.name, "run_id": run_id, "mode": mode, **more}))
        return run_id

    def request_restore(self, version: int, *, discard: bool) -> str:
        """Ask for an earlier version."""
        self._scans += 1
        request_id = f"restore-{self._scans}"
        self.request(
            MERGE,
            RestoreCheckpoint(
                pipeline=PIPELINE.name,
                scope=PIPELINE.name,
                request_id=request_id,
                destination=DESTINATION,
                version=version,
                discard=discard,
            ),
        )
        return request_id

    async def handle(self, queue: str, messages: Sequence[Waiting], line: Line | None = None) -> Outcome | None:
        """A process receives a batch; None if it died or the whole batch failed: everything comes again."""
        line = line or Line()
        self.clock.advance(1)  # no two processes start at one moment
        batch = [Delivery(m.id, m.body, m.receives + 1) for m in messages]
        for message in messages:
            message.receives += 1
        use_case = {PLAN: self.plans, VALIDATE: self.validates, MERGE: self.merges}[queue]
        try:
            outcome = await use_case(line, batch)
        except KilledError:
            outcome = None
        except TidegateError as error:  # a shell lets SQS bring the whole batch again
            self.reasons.append(repr(error))
            outcome = None
        for message in messages:
            if outcome is not None and message.id not in outcome.failed:
                self.handled.append(message)
                self.waiting = [each for each in self.waiting if each is not message]
        self.reasons += outcome.reasons.values() if outcome else []
        self._pump()
        return outcome

    async def together(
        self, work: Sequence[tuple[Sequence[Waiting], Line]], turnstile: Turnstile, order: Iterator[int]
    ) -> None:
        """Mergers side by side, one exchange at a time."""
        named = [(str(i), self.handle(MERGE, messages, line)) for i, (messages, line) in enumerate(work)]
        await turnstile.run(named, order)

    async def drain(self, observer: Observer | None = None) -> None:
        """Deliver until nothing waits; what asks for time gets it.

        Raises:
            AssertionError: messages keep coming back.
        """
        for message in self.now_waiting():
            message.receives = 0  # until here it came back sooner than a queue brings it
        for _ in range(60):
            if not self.now_waiting():
                return
            before = len(self.waiting), len(self.handled)
            for queue in (PLAN, VALIDATE, MERGE):
                messages = self.now_waiting(queue)
                if messages:
                    await self.handle(queue, messages)
                    self._bury([m for m in messages if m.receives >= MOST_RECEIVES])
                    if observer is not None:
                        await observer.look()
            if (len(self.waiting), len(self.handled)) == before:
                self.clock.advance(self.merger.lease_ttl_s + 1)
        raise AssertionError(f"messages keep coming back: {self.reasons[-3:]}")

    def _bury(self, messages: Sequence[Waiting]) -> None:
        dying = [message for message in messages if message in self.waiting]
        self.waiting = [message for message in self.waiting if message not in dying]
        self.dead_letters += dying

    async def come_to_rest(self, observer: Observer | None = None) -> None:
        """Nothing waits, a sweep and a later one found everything lost, and the days of events are closed."""
        await self.drain(observer)
        for pause in (timedelta(minutes=6), timedelta(minutes=6), timedelta(hours=26)):
            self.clock.advance(pause.total_seconds())
            self.request_scan()
            await self.drain(observer)

    def _pump(self) -> None:
        """What S3 announces and what services sent arrives in the queues."""
        for bucket, info in self.objects.puts[self._pumped :]:
            if bucket in {RAW, VALIDATED}:
                self._put(VALIDATE if bucket == RAW else MERGE, notification(bucket, info))
        self._pumped = len(self.objects.puts)
        for queue, bodies in self.publisher.sent.items():
            for body in bodies:
                self._put(queue, body)
            bodies.clear()

    def _put(self, queue: str, body: str) -> None:
        self._ids += 1
        self.waiting.append(Waiting(f"m{self._ids}", queue, body))
