"""What SQS says about a message beside its body."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MS_PER_S = 1_000


def sent_at_of(attributes: Mapping[Any, Any]) -> datetime | None:
    """When a message was sent (``SentTimestamp``, milliseconds since 1970), None if SQS does not say.

    Raises:
        ValueError: it is no number.
    """
    sent = attributes.get("SentTimestamp")
    return None if sent is None else datetime.fromtimestamp(int(sent) / MS_PER_S, UTC)
