"""When a worker need not gather any longer: a batch is for many small things, and these are enough work by themselves.

Waiting for more pays where each delivery announces a small file. A command asks for a whole segment, and so does a
large object; what arrives while the worker is busy with it makes up the next batch anyway. What is there already costs
no waiting: where a whole batch is one commit, it is taken along.
"""

from collections.abc import Sequence
from enum import Enum

from contracts.segments import Occurrence
from services.runtime.deliveries import Delivery
from services.runtime.failures import MalformedError
from services.runtime.notifications import is_notification, read_notification

MUCH_BYTES = 64 * 1024
"""Announced bytes that are worth a batch of their own."""
MOST_BYTES = 16 * 1024 * 1024
"""Announced bytes from which on nothing more is taken along: rows take many times as much in memory."""


class Wants(Enum):
    """What else a batch wants before it is handled."""

    MORE = "whatever comes within its window"
    WAITING = "what is in the queue already"
    NOTHING = "nothing"


def wanted(
    deliveries: Sequence[Delivery], *, stands_for_more: str | None = None, commits_together: bool = False
) -> Wants:
    """What a batch of these wants.

    ``stands_for_more`` is how keys of objects end that are small themselves but announce as much work as a large one,
    for several workers to share. ``commits_together`` says that anything else in a batch costs one commit together.
    """
    announced = [occurrence for delivery in deliveries for occurrence in _announced(delivery)]
    is_shared = stands_for_more is not None and any(each.key.endswith(stands_for_more) for each in announced)
    weight = sum(each.size or 0 for each in announced)
    weight += MUCH_BYTES * sum(not is_notification(delivery.body) for delivery in deliveries)
    if weight < MUCH_BYTES and not is_shared:
        return Wants.MORE
    return Wants.WAITING if commits_together and not is_shared and weight < MOST_BYTES else Wants.NOTHING


def _announced(delivery: Delivery) -> Sequence[Occurrence]:
    try:
        return read_notification(delivery.body) if is_notification(delivery.body) else ()
    except MalformedError:  # the use case says what is wrong with it
        return ()
