"""What a shell hands to a use case and what it gets back, whichever shell it is."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message. ``receives`` counts how often SQS has handed it out, this time included.

    What is only reported (when it was sent, through which queue by its deployed name, in which trace) makes no
    difference between two deliveries.
    """

    id: str
    body: str
    receives: int = 1
    sent_at: datetime | None = field(default=None, compare=False)
    queue: str = field(default="unknown", compare=False)
    trace: str | None = field(default=None, compare=False)


@dataclass(slots=True)
class Outcome:
    """The deliveries of a batch that must come again; every other one is done and may be deleted.

    ``delays`` holds, per failed delivery, the seconds until the next attempt; None leaves it to the queue.
    """

    delays: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def fail(self, delivery_ids: Sequence[str], reason: str, *, delay: float | None = None) -> None:
        """Send these back."""
        for delivery_id in delivery_ids:
            self.delays[delivery_id] = delay
            self.reasons[delivery_id] = reason

    @property
    def failed(self) -> Mapping[str, float | None]:
        """Failed delivery ids and their delays."""
        return self.delays


BatchHandler = Callable[[Sequence[Delivery]], Awaitable[Outcome]]
"""A use case as a shell sees it. An exception fails the whole batch."""
