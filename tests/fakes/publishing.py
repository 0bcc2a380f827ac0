"""Queues and the topic of facts in memory."""

from collections.abc import Sequence
from uuid import uuid4

from contracts.envelope import Message, Payload
from contracts.topology import TOPOLOGY
from services.runtime.clock import Clock
from services.runtime.failures import MalformedError, MissingObjectError
from services.runtime.tracing import carried_header
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects

BATCH = 10
"""Messages sent together; between two batches a process can die."""
MESSAGE_BYTES = 256 * 1024


class FakePublisher:
    """``Publisher`` whose queues and facts can be read: ``sent`` by queue, ``facts`` in order, as JSON text."""

    def __init__(self, clock: Clock | None = None, *, effects: Effects | None = None) -> None:
        self.sent: dict[str, list[str]] = {queue.name: [] for queue in TOPOLOGY.queues}
        self.facts: list[str] = []
        self.effects = effects or Effects()
        self._clock = clock or ManualClock()

    def seen_by(self, effects: Effects) -> "FakePublisher":
        """The same queues as another process reaches them."""
        other = FakePublisher(self._clock, effects=effects)
        other.sent, other.facts = self.sent, self.facts
        return other

    def commands(self, queue: str) -> list[Message]:
        """What was sent to a queue, opened."""
        return [Message.model_validate_json(text) for text in self.sent[queue]]

    def announced(self) -> list[Message]:
        """The facts, opened."""
        return [Message.model_validate_json(text) for text in self.facts]

    async def send(self, queue: str, payloads: Sequence[Payload], *, run_id: str) -> None:
        """See ``Publisher``."""
        bodies = [self._wrap(payload, run_id) for payload in payloads]

        async def deliver(batch: list[str]) -> None:
            await self.effects.perform(f"send {len(batch)} to {queue}", lambda: self.sent[queue].extend(batch))

        if bodies and queue not in self.sent:
            raise MissingObjectError(f"queue {queue} does not exist")
        for start in range(0, len(bodies), BATCH):
            await deliver(bodies[start : start + BATCH])

    async def announce(self, fact: Payload, *, run_id: str) -> None:
        """See ``Publisher``; the attributes are the message's own fields."""
        body = self._wrap(fact, run_id)
        await self.effects.perform(f"announce {fact.kind()}", lambda: self.facts.append(body))

    def _wrap(self, payload: Payload, run_id: str) -> str:
        message = Message.wrap(
            payload, message_id=uuid4(), run_id=run_id, occurred_at=self._clock.now(), trace=carried_header()
        )
        text = message.model_dump_json()
        if len(text.encode()) > MESSAGE_BYTES:
            raise MalformedError(f"{payload.kind()} {payload.dedup_id()} is over {MESSAGE_BYTES} bytes")
        return text
