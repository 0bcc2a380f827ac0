"""One test's source, output and ledger, with what must be in them: the oracle of the end-to-end tests."""

import asyncio
import io
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq

from contracts.envelope import Payload
from contracts.records import COLUMNS, VisitEvent
from contracts.runs import PlanRun, RunMode, RunState
from services.console.commands.quarantine import entries
from services.console.demo.visit_events import Expected, Upload
from services.console.following import Followed, follow_run, look, wait_idle
from services.console.session import Session, open_session
from services.runtime.objects import ObjectInfo
from tests.e2e.fleet import PATIENCE_S, POLL_S
from tests.e2e.proxy import Call

PIPELINE = "visit_events"
PUTS_IN_FLIGHT = 16
IDLE_S = 120.0
COLUMN_NAMES = tuple(COLUMNS["visit_event"])

Row = tuple[Any, ...]


def row_of(upload: Upload) -> Row:
    """The checkpoint row that an upload must become."""
    event = VisitEvent.model_validate_json(upload.body)
    return tuple(getattr(event, name) for name in COLUMN_NAMES)


@dataclass
class World:
    """What was put so far, and what came of it."""

    session: Session
    uploads: list[Upload] = field(default_factory=list)
    unannounced: list[Upload] = field(default_factory=list)
    """Uploads that no notification told of: a scan ignores foreign ones before any segment is made."""
    left_out: list[Upload] = field(default_factory=list)
    """Uploads whose rows were merged and then undone for good."""
    merged_again: int = 0
    """Rows that were undone by a restore and merged once more."""

    @property
    def prefix(self) -> str:
        """Where the pipeline looks for files."""
        return self.session.pipeline(PIPELINE).source.prefix

    @property
    def raw(self) -> str:
        """The source bucket."""
        return self.session.settings.resource("raw")

    async def put(self, uploads: Sequence[Upload], *, announced: bool = True) -> list[ObjectInfo]:
        """Put files, versions of one name in their order; what each put made, in the order of the uploads."""
        by_name: dict[str, list[int]] = {}
        for index, upload in enumerate(uploads):
            by_name.setdefault(upload.name, []).append(index)
        gate = asyncio.Semaphore(PUTS_IN_FLIGHT)
        made: dict[int, ObjectInfo] = {}

        async def versions(indexes: list[int]) -> None:
            for index in indexes:
                async with gate:
                    upload = uploads[index]
                    made[index] = await self.session.objects.put(self.raw, self.prefix + upload.name, upload.body)

        async with asyncio.TaskGroup() as group:
            for indexes in by_name.values():
                group.create_task(versions(indexes))
        self.uploads += uploads
        if not announced:
            self.unannounced += uploads
        return [made[index] for index in range(len(uploads))]

    async def send(self, queue: str, bodies: Sequence[str]) -> None:
        """Put bodies into a queue, as its topic would."""
        url = await self.queue_url(queue)
        entries_ = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
        for start in range(0, len(entries_), 10):
            answer = await self.session.clients.sqs.send_message_batch(
                QueueUrl=url,
                Entries=entries_[start : start + 10],  # type: ignore[arg-type]
            )
            assert not answer.get("Failed"), answer

    async def command(self, queue: str, payload: Payload) -> None:
        """Send one of our own commands."""
        await self.session.publisher.send(queue, [payload], run_id=payload.dedup_id())

    async def queue_url(self, name: str) -> str:
        """A queue's address, by its logical name."""
        answer = await self.session.clients.sqs.get_queue_url(QueueName=self.session.settings.resource(name))
        return answer["QueueUrl"]

    async def waiting(self, queue: str) -> tuple[int, int]:
        """Messages of a queue that are visible, and that are not."""
        answer = await self.session.clients.sqs.get_queue_attributes(
            QueueUrl=await self.queue_url(queue), AttributeNames=["All"]
        )
        counts = answer["Attributes"]
        hidden = int(counts["ApproximateNumberOfMessagesNotVisible"])
        return int(counts["ApproximateNumberOfMessages"]), hidden + int(counts["ApproximateNumberOfMessagesDelayed"])

    async def scan(self) -> Followed:
        """Run a scan to its end."""
        run_id = f"{PIPELINE}-scan-{uuid4().hex[:8]}"
        await self.command("plan-requests", PlanRun(pipeline=PIPELINE, run_id=run_id))
        return await follow_run(self.session, run_id, IDLE_S)

    async def idle(self) -> None:
        """Wait until nothing is queued, in flight or waiting to be merged."""
        await wait_idle(self.session, IDLE_S)

    async def settled(self) -> None:
        """Wait until every segment is merged; announcements of what was merged before may still be queued."""

        async def nothing_pending() -> bool:
            return not any(followed.table.pending_segments for followed in await self.ledger())

        await self.until(nothing_pending, "every segment is merged")

    async def lose_messages(self, queue: str) -> None:
        """Empty a queue, as if its messages had never been delivered."""
        await self.session.clients.sqs.purge_queue(QueueUrl=await self.queue_url(queue))
        assert await self.waiting(queue) == (0, 0)

    async def validated(self, count: int) -> None:
        """Wait until this many occurrences have been judged and their notifications are deleted."""

        async def judged() -> bool:
            followed_runs = await self.ledger()
            hops = [followed.table.hops[-2] for followed in followed_runs]
            known = sum(hop.received - hop.duplicates for hop in hops)
            return known >= count and await self.waiting("validate-objects") == (0, 0)

        await self.until(judged, f"{count} occurrences are judged")

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str, within_s: float = PATIENCE_S) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it still does not.
        """
        deadline = time.monotonic() + within_s
        while not await holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {within_s:g} s: {what}")
            await asyncio.sleep(POLL_S)

    async def ledger(self) -> list[Followed]:
        """Every run with its table."""
        return [await look(self.session, run.run_id) for run in await self.session.ledger.runs(limit=200)]

    @property
    def checkpoint(self) -> str:
        """The checkpoint's name."""
        destination = self.session.destination(self.session.pipeline(PIPELINE))
        return f"{destination.bucket}/{destination.key}"

    def is_swap(self, call: Call) -> bool:
        """Whether a request is the one that makes a new checkpoint current."""
        return call.method == "PUT" and call.path == f"/{self.checkpoint}"

    async def versions(self) -> list[tuple[int, str]]:
        """Version and kind of each commit, oldest first."""
        return [(c.version, c.kind) for c in reversed(await self.session.checkpoints.history(self.checkpoint))]

    async def rows(self) -> list[Row]:
        """The rows of the checkpoint, as readers find them."""
        bucket, key = self.checkpoint.split("/", 1)
        table = pq.read_table(io.BytesIO((await self.session.objects.get(bucket, key)).body))
        assert tuple(table.column_names) == COLUMN_NAMES
        return [tuple(row[name] for name in COLUMN_NAMES) for row in table.to_pylist()]

    async def check(self, *, judged_again: Sequence[Upload] = ()) -> None:
        """Each expected occurrence is in the checkpoint exactly once, in order, and the books say so too.

        ``judged_again`` are uploads whose verdicts, not their rows, had to be counted a second time.
        """
        rows = await self.rows()
        expected = Counter(row_of(u) for u in self.uploads if u.expected == "merged")
        expected -= Counter(row_of(u) for u in self.left_out)
        found = Counter(rows)
        assert not expected - found, f"{(expected - found).total()} rows are lost"
        assert not found - expected, f"{(found - expected).total()} rows are doubled or foreign"
        moments = [row[COLUMN_NAMES.index("timestamp")] for row in rows]
        assert moments == sorted(moments)
        head = await self.session.checkpoints.head(self.checkpoint)
        assert head.total_rows == len(rows)
        await self._check_ledger(Expected.of(judged_again))
        for queue in self.session.queue_names():
            assert await self.waiting(f"{queue}-dlq") == (0, 0), f"dead letters of {queue}"

    async def _check_ledger(self, again: Expected) -> None:
        totals: Counter[str] = Counter()
        for followed in await self.ledger():
            table = followed.table
            assert table.balanced, (followed.run.run_id, table.problems)
            assert not table.pending_segments, followed.run.run_id
            if followed.run.mode is not RunMode.EVENTS:
                assert followed.run.state is RunState.SUCCEEDED, followed.run
            for hop in table.hops:
                assert hop.pending == 0
                if hop.name == "plan":
                    continue
                totals.update(quarantined=hop.quarantined, filtered=hop.filtered, ignored=hop.ignored)
            totals["merged"] += table.records
        everything, in_secret = Expected.of(self.uploads), Expected.of(self.unannounced)
        assert totals["merged"] == everything.merged + self.merged_again
        assert totals["quarantined"] == sum([*everything.quarantined.values(), *again.quarantined.values()])
        assert totals["filtered"] == everything.filtered + again.filtered
        assert totals["ignored"] == everything.ignored - in_secret.ignored
        found = await entries(self.session, self.session.pipeline(PIPELINE))
        assert Counter(entry["reason"] for entry in found) == Counter(everything.quarantined)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """A world on the stack that the environment points at."""
    async with open_session() as session:
        yield World(session)
