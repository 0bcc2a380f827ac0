"""Sending commands to queues and facts to the topic."""

from collections.abc import Sequence
from typing import Protocol

from contracts.envelope import Payload


class Publisher(Protocol):
    """Sends messages in their envelope. At least once: consumers recognise repetitions by ``dedup_id``.

    Raises (all methods): UnreachableError; AccessDeniedError; MalformedError for a message over its limit
    (256 KiB), which must become a claim check.
    """

    async def send(self, queue: str, payloads: Sequence[Payload], *, run_id: str) -> None:
        """Send commands to a queue (its logical name), ten to a request."""
        ...

    async def announce(self, fact: Payload, *, run_id: str) -> None:
        """Publish a fact to the ``pipeline-events`` topic, with ``kind`` and ``pipeline`` as attributes."""
        ...
