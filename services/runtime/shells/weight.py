"""When a worker need not gather any longer: a batch is for many small things, and these are enough work by themselves.

Waiting for more pays where each delivery announces a small file. A command asks for a whole segment, and so does a
large object; what arrives while the worker is busy with it makes up the next batch anyway.
"""

from collections.abc import Sequence

from services.runtime.deliveries import Delivery
from services.runtime.failures import MalformedError
from services.runtime.notifications import is_notification, read_notification

MUCH_BYTES = 64 * 1024
"""Announced bytes that are worth a batch of their own."""


def is_enough(deliveries: Sequence[Delivery], *, stands_for_more: str | None = None) -> bool:
    """Whether these deliveries should be handled now.

    ``stands_for_more`` is how keys of objects end that are small themselves but announce as much work as a large one.
    """
    return sum(_weight(delivery, stands_for_more) for delivery in deliveries) >= MUCH_BYTES


def _weight(delivery: Delivery, stands_for_more: str | None) -> int:
    if not is_notification(delivery.body):
        return MUCH_BYTES
    try:
        found = read_notification(delivery.body)
        if stands_for_more is not None and any(occurrence.key.endswith(stands_for_more) for occurrence in found):
            return MUCH_BYTES
        return sum(occurrence.size or 0 for occurrence in found)
    except MalformedError:  # the use case says what is wrong with it
        return 0
