"""A stack without services, for tests of ``tidegate`` over a pipeline whose rows we fetch ourselves.

The tests put objects, ledger entries and heads where services would have put them, and read from the queues what a
command has sent.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import uuid4

import polars as pl
import pytest

from contracts.catalog import MESSAGES
from contracts.envelope import Payload, open_message
from services.console.local.emulator import Emulator
from services.console.session import Session
from services.runtime.checkpoints import Commit
from tests.emulator_support import Stack, new_stack, provision_now
from tests.integration.console_support import NOON, in_session

P = "nyc_311"
MARK = "nyc_311#service_requests"
DAY = "2025-02-21"
CURSOR, UNTIL = "2025-02-21T23:59:59.000", "2025-02-19T18:00:00.000"
JANUARY = f"processed/year=2025/month=01/data_{DAY}.parquet"
FEBRUARY = f"processed/year=2025/month=02/data_{DAY}.parquet"
UNRECORDED = "processed/year=2025/month=02/data_2025-02-22.parquet"


@contextmanager
def own_stack(emulator: Emulator) -> Iterator[Stack]:
    """A provisioned stack without services, that the environment points at."""
    stack = new_stack(emulator)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environ.items():
            patch.setenv(name, value)
        provision_now(stack)
        in_session(purge)
        yield stack


async def purge(session: Session) -> None:
    """Empty the queues: with nobody to read them, what buckets announce of themselves would stay."""
    for name in session.queue_names():
        url = (await session.clients.sqs.get_queue_url(QueueName=session.settings.resource(name)))["QueueUrl"]
        await session.clients.sqs.purge_queue(QueueUrl=url)


def parquet(*rows: tuple[str, str]) -> bytes:
    """A partition file of (key, moment)."""
    created = [datetime.fromisoformat(moment) for _, moment in rows]
    frame = pl.DataFrame({"unique_key": [key for key, _ in rows], "created_date": created})
    sink = io.BytesIO()
    frame.with_columns(pl.lit("Open").alias("status")).write_parquet(sink)
    return sink.getvalue()


async def commit(session: Session, key: str, body: bytes, rows: int, version: int = 1) -> None:
    """Put a file and record its commit, as a merger does."""
    bucket = session.settings.resource("processed")
    info = await session.objects.put(bucket, key, body)
    await session.checkpoints.register(P, f"{bucket}/{key}")
    entry = Commit(
        version=version,
        kind="merge",
        commit_id=uuid4().hex,
        manifest=f"manifests/{version}.json",
        etag=info.etag,
        object_version=info.version_id,
        total_rows=rows,
        new_rows=rows,
        committed_at=NOON.isoformat(),
        max_cursor=CURSOR,
    )
    await session.checkpoints.record(f"{bucket}/{key}", entry)


async def fill(session: Session) -> None:
    """A tree of three files, one of them not recorded yet, with what else may lie in its bucket."""
    await commit(session, JANUARY, parquet(("1", "2025-01-31T23:59:59.999"), ("2", "2025-01-03T00:00:00")), 2)
    await commit(session, FEBRUARY, parquet(("3", "2025-02-01T00:00:00")), 1)
    bucket = session.settings.resource("processed")
    await session.objects.put(bucket, UNRECORDED, parquet(("4", "2025-02-02T00:00:00")))
    await session.objects.put(bucket, "pipeline_state/last_run_timestamp.json", b"{}")
    await session.objects.put(bucket, "processed/_temporary/notes.txt", b"somebody's")
    await session.watermarks.advance(MARK, CURSOR, expected_version=0, run_id="first", complete_until=UNTIL)


def send(queue: str, payload: Payload) -> None:
    """Put a command into a queue."""
    in_session(lambda session: session.publisher.send(queue, [payload], run_id="r"))


def received(queue: str) -> Payload:
    """Take the one message that a command has left in a queue."""

    async def take(session: Session) -> Payload:
        sqs = session.clients.sqs
        url = (await sqs.get_queue_url(QueueName=session.settings.resource(queue)))["QueueUrl"]
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
        (message,) = answer["Messages"]
        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return open_message(message["Body"], MESSAGES)[1]

    return in_session(take)
