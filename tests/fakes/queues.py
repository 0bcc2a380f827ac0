"""A queue that remembers what is hidden, behind the calls of the SDK that change it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError

LONGEST_HIDDEN_S = 43_200


@dataclass
class FakeQueues:
    """Queues of one account: which of their messages are held, by receipt, and until when they are hidden."""

    held: dict[str, set[str]] = field(default_factory=dict)
    """Receipts by the queue's name."""
    hidden_s: dict[str, int] = field(default_factory=dict)
    """Seconds for which a message stays hidden, by receipt."""
    refuses: str | None = None
    """Code with which every call is refused."""
    silent: bool = False
    """Nobody answers."""
    connected: int = 0

    @property
    def sqs(self) -> "FakeQueues":
        """Itself, as the clients of a process have it."""
        return self

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["FakeQueues"]:
        """Open it."""
        self.connected += 1
        yield self

    async def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803 - the SDK's name
        """Look a queue up."""
        self._answer("GetQueueUrl")
        if QueueName not in self.held:
            raise ClientError({"Error": {"Code": "QueueDoesNotExist"}}, "GetQueueUrl")
        return {"QueueUrl": QueueName}

    async def change_message_visibility_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803 - the SDK's name
        Entries: list[dict[str, Any]],  # noqa: N803 - the SDK's name
    ) -> dict[str, Any]:
        """Hide messages anew; of one that nobody holds it says so."""
        self._answer("ChangeMessageVisibilityBatch")
        assert 1 <= len(Entries) <= 10
        failed = []
        for entry in Entries:
            assert 0 <= entry["VisibilityTimeout"] <= LONGEST_HIDDEN_S
            if entry["ReceiptHandle"] in self.held[QueueUrl]:
                self.hidden_s[entry["ReceiptHandle"]] = entry["VisibilityTimeout"]
            else:
                failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": True})
        return {"Failed": failed}

    def _answer(self, operation: str) -> None:
        if self.silent:
            raise ConnectTimeoutError(endpoint_url="https://sqs")
        if self.refuses is not None:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, operation)
