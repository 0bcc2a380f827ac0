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


def is_enough(deliveries: Sequence[Delivery]) -> bool:
    """Whether these deliveries should be handled now."""
    return sum(_weight(delivery) for delivery in deliveries) >= MUCH_BYTES


def _weight(delivery: Delivery) -> int:
    if not is_notification(delivery.body):
        return MUCH_BYTES
    try:
        return sum(occurrence.size or 0 for occurrence in read_notification(delivery.body))
    except MalformedError:  # the use case says what is wrong with it
        return 0
