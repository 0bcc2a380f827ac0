"""``tidegate dlq``: messages SQS gave up on, and bringing them back."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.console.output import emit_json, emit_table, meter, say
from services.console.session import Session, open_session
from services.runtime.aws.errors import translated
from services.runtime.failures import BadDeclarationError
from services.runtime.notifications import is_notification

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

app = typer.Typer(name="dlq", help="Messages SQS gave up on, and bringing them back.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable result")]
PEEK_S = 5
"""How long a message that is only looked at stays hidden, seconds."""
RECEIVE_MAX = 10


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """How many messages wait in each dead-letter queue."""
    asyncio.run(_list(as_json=as_json))


@app.command()
def show(
    queue: Annotated[str, typer.Argument(help="queue, for example merge-segments")], as_json: Json = False
) -> None:
    """The messages of one dead-letter queue, grouped by what they are."""
    asyncio.run(_show(queue, as_json=as_json))


@app.command()
def redrive(queue: Annotated[str | None, typer.Argument(help="queue; default: all of them")] = None) -> None:
    """Send messages back to their queue, after the cause was fixed. Handling one twice is harmless."""
    asyncio.run(_redrive(queue))


def signature_of(body: str) -> str:
    """What kind of message a body is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # also numbers too long and nesting too deep for Python's reader
        return "not JSON"
    if isinstance(document, dict) and "kind" in document:
        return str(document["kind"])
    return "S3 notification" if is_notification(body) else "unknown JSON"


async def _list(*, as_json: bool) -> None:
    async with open_session() as session:
        counts = {name: await _count(session, name) for name in session.queue_names()}
    if as_json:
        emit_json(counts)
    else:
        emit_table("Dead-letter queues", ["queue", "messages"], [[name, count] for name, count in counts.items()])


async def _show(queue: str, *, as_json: bool) -> None:
    async with open_session() as session:
        url = await _url(session, f"{_known(session, queue)}-dlq")
        messages = await _drain(session, url)
        await _unhide(session, url, messages)
    listing = [{"kind": signature_of(m["Body"]), "id": m["MessageId"], "body": m["Body"]} for m in messages]
    if as_json:
        emit_json(listing)
    else:
        rows = [[entry["kind"], entry["id"], entry["body"][:200]] for entry in sorted(listing, key=lambda e: e["kind"])]
        emit_table(f"{len(rows)} messages in {queue}-dlq", ["kind", "id", "body"], rows)


async def _redrive(queue: str | None) -> None:
    async with open_session() as session:
        names = session.queue_names() if queue is None else [_known(session, queue)]
        for name in names:
            moved = await _move(session, name)
            say(f"{name}: {moved} messages sent back")


async def _move(session: Session, name: str) -> int:
    """Send first, delete after: a crash in between leaves a message twice, never nowhere.

    No more than were there in the beginning: what comes back at once, because its cause is still there, waits for the
    next time.
    """
    source, target = await _url(session, f"{name}-dlq"), await _url(session, name)
    moved, most = 0, await _count(session, name)
    with meter(f"{name} redriven", most) as progress, translated(f"redrive {name}"):
        while moved < most and (messages := await _receive(session, source, hidden_s=60, most=most - moved)):
            for message in messages:
                await session.clients.sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
                await session.clients.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
                progress.update(moved)
    return moved


async def _drain(session: Session, url: str) -> "list[MessageTypeDef]":
    found: dict[str, MessageTypeDef] = {}
    with translated("look into a dead-letter queue"):
        while messages := [m for m in await _receive(session, url, hidden_s=PEEK_S) if m["MessageId"] not in found]:
            found.update({m["MessageId"]: m for m in messages})
    return list(found.values())


async def _unhide(session: Session, url: str, messages: "list[MessageTypeDef]") -> None:
    with translated("look into a dead-letter queue"):
        for message in messages:
            await session.clients.sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )


async def _receive(session: Session, url: str, *, hidden_s: int, most: int = RECEIVE_MAX) -> "list[MessageTypeDef]":
    answer: Any = await session.clients.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=min(most, RECEIVE_MAX), WaitTimeSeconds=1, VisibilityTimeout=hidden_s
    )
    return list(answer.get("Messages", []))


async def _count(session: Session, name: str) -> int:
    url = await _url(session, f"{name}-dlq")
    with translated(f"look at queue {name}-dlq"):
        answer = await session.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return int(answer["Attributes"].get("ApproximateNumberOfMessages", 0))


async def _url(session: Session, name: str) -> str:
    with translated(f"look up queue {name}"):
        return (await session.clients.sqs.get_queue_url(QueueName=session.settings.resource(name)))["QueueUrl"]


def _known(session: Session, queue: str) -> str:
    if queue not in session.queue_names():
        raise BadDeclarationError(f"there is no queue {queue!r}; there are {', '.join(session.queue_names())}")
    return queue
