"""After a crash of the emulator only the objects are left: scan every source again."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from contracts.envelope import Message
from contracts.runs import PlanRun
from services.runtime.aws.clients import Clients
from services.runtime.aws.errors import translated


async def dispatch_recovery(clients: Clients, stack: str, names: Iterable[str]) -> list[str]:
    """Ask the planner for one run per pipeline or group; the run ids.

    A scan finds every object that the lost queues had announced. Dispatching twice is harmless: what is settled
    counts once.

    Raises:
        UnreachableError: no answer from the endpoint.
        MissingObjectError: the planner's queue does not exist.
    """
    queue = f"{stack}-plan-requests"
    runs: list[str] = []
    with translated(f"send to queue {queue}"):
        url = (await clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        for name in names:
            identity = uuid4()
            command = PlanRun(pipeline=name, run_id=f"recovery-{identity.hex}")
            message = Message.wrap(command, message_id=identity, run_id=command.run_id, occurred_at=datetime.now(UTC))
            await clients.sqs.send_message(QueueUrl=url, MessageBody=message.model_dump_json())
            runs.append(command.run_id)
    return runs
