"""What every service does around its work: whose delivery a log line belongs to, and what a batch is measured by."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Protocol, TypeVar

from structlog import contextvars

from services.runtime.clock import Clock
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.telemetry import Telemetry
from services.runtime.tracing import Trace, carried_trace, carrying

NAMED = 10
"""Most deliveries that one log line names; more are counted."""
LONGEST_ID = 512
ENVELOPE = ("kind", "dedup_id", "run_id")
"""Fields of an envelope that identify a message, beside the trace."""


class Measured(Protocol):
    """The ports that measuring a batch needs; every service's have them."""

    @property
    def telemetry(self) -> Telemetry:
        """Where metrics go."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...


P = TypeVar("P", bound=Measured)
UseCase = Callable[[P, Sequence[Delivery]], Awaitable[Outcome]]


def measured(use_case: UseCase[P]) -> UseCase[P]:
    """Report how long a batch's oldest message has waited, and hand over all metrics when the batch ends, however."""

    @wraps(use_case)
    async def handle(ports: P, deliveries: Sequence[Delivery]) -> Outcome:
        _report_age(ports, deliveries)
        try:
            return await use_case(ports, deliveries)
        finally:
            ports.telemetry.flush()

    return handle


def _report_age(ports: Measured, deliveries: Sequence[Delivery]) -> None:
    oldest: dict[str, datetime] = {}
    for delivery in deliveries:
        if delivery.sent_at is not None:
            oldest[delivery.queue] = min(delivery.sent_at, oldest.get(delivery.queue, delivery.sent_at))
    for queue, sent_at in oldest.items():
        age = (ports.clock.now() - sent_at).total_seconds()
        # Clocks differ: a message may seem to come from the future.
        ports.telemetry.metric("OldestMessageAge", max(age, 0.0), "Seconds", queue=queue)


@contextmanager
def handling(*deliveries: Delivery) -> Iterator[None]:
    """Put the ids of these deliveries on every log line of the block, and carry their trace on to what it sends.

    Ids that several of them share are one value, others a list. A trace is the message's own, else the one SQS was
    given, else the invocation's, else a new one. ``identify`` may add ids; the block's end forgets all of them.
    """
    envelopes = [_envelope(delivery) for delivery in deliveries]
    traces = [Trace.read(envelope.get("trace")) for envelope in envelopes]
    traces += [Trace.read(delivery.trace) for delivery in deliveries]
    trace = next(filter(None, traces), None) or carried_trace() or Trace.start(datetime.now(UTC))
    ids = {"message_id": named([delivery.id for delivery in deliveries]), "trace_id": trace.root}
    for name in ENVELOPE:
        if found := sorted({envelope[name] for envelope in envelopes if name in envelope}):
            ids[name] = named(found)
    before = contextvars.get_contextvars()
    contextvars.bind_contextvars(**ids)
    try:
        with carrying(trace):
            yield
    finally:
        contextvars.clear_contextvars()
        contextvars.bind_contextvars(**before)


def identify(**ids: str) -> None:
    """Add ids to the log lines of the ``handling`` block that this is called in."""
    contextvars.bind_contextvars(**ids)


def _envelope(delivery: Delivery) -> dict[str, str]:
    """What identifies a delivery that is one of our messages; whether it is a good one is for others to say."""
    if '"dedup_id"' not in delivery.body:  # thousands of notifications are handled together, and none has it
        return {}
    try:
        document: Any = json.loads(delivery.body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or "dedup_id" not in document:
        return {}
    found = {name: document.get(name) for name in (*ENVELOPE, "trace")}
    return {name: text[:LONGEST_ID] for name, text in found.items() if isinstance(text, str)}


def named(ids: Sequence[str]) -> str | list[str]:
    """Ids as one log line has them: one by itself, several as a list, each once, the first ten of them."""
    ids = list(dict.fromkeys(ids))
    if len(ids) == 1:
        return ids[0]
    more = [f"and {len(ids) - NAMED} more"] if len(ids) > NAMED else []
    return [*ids[:NAMED], *more]
