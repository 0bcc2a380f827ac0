"""Queues of the real backend as a conformance suite needs them: drained, listened to, and in a bad mood."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient


async def drain(sqs: "SQSClient", url: str) -> list[dict[str, Any]]:
    """Everything that is in a queue, taken out of it."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        )
        messages = answer.get("Messages", [])
        if not messages:
            return found
        for message in messages:
            found.append(dict(message))
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@dataclass(frozen=True)
class Listener:
    """A queue of the test's own that is subscribed to the topic of facts."""

    url: str
    topic: str


class MoodySqs:
    """A client whose queue fails the odd entries of each of the first ``times`` batches."""

    def __init__(self, client: "SQSClient", times: int, *, sender_fault: bool = False) -> None:
        self.batches: list[int] = []
        self._client = client
        self._times = times
        self._sender_fault = sender_fault

    async def get_queue_url(self, **arguments: Any) -> Any:
        """As the client does."""
        return await self._client.get_queue_url(**arguments)

    async def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803 - the client's own names
        """Send the even entries only, while the mood lasts."""
        self.batches.append(len(Entries))
        if len(self.batches) > self._times:
            return await self._client.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
        await self._client.send_message_batch(QueueUrl=QueueUrl, Entries=Entries[::2])
        failed = [
            {"Id": entry["Id"], "SenderFault": self._sender_fault, "Code": "Moody", "Message": "not now"}
            for entry in Entries[1::2]
        ]
        return {"Successful": [], "Failed": failed}
