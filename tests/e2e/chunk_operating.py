"""What befalls the chunks of a run by hand: rows that refuse, rows that take long, objects that are damaged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts.chunks import ChunkKeys, ChunkPayload, ChunkPlan, PlannedChunk
from contracts.envelope import Message
from services.console.commands.holding import Verb, hold
from services.runtime.aws.errors import translated
from services.runtime.chunking.plans import StoredChunkPlans
from tests.e2e.chunking import QUEUE, Report
from tests.e2e.fleet import Ended

REFUSES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW."UpdatedDate" IS DISTINCT FROM OLD."UpdatedDate" THEN
            RAISE EXCEPTION 'no visit of % is ever updated', NEW."SSN";
        END IF;
        RETURN NEW;
    END $$
"""
DELAYS = """
    CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW."UpdatedDate" IS DISTINCT FROM OLD."UpdatedDate" THEN PERFORM pg_sleep({seconds}); END IF;
        RETURN NEW;
    END $$
"""
TRIGGER = """
    CREATE TRIGGER {name} BEFORE UPDATE ON conflictvisitmaps FOR EACH ROW
    WHEN (NEW."ID" = ANY ('{{{ids}}}'::bigint[])) EXECUTE FUNCTION {name}()
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a chunk."""

    id: int
    ssn: str | None


@dataclass
class Bench:
    """One run's chunks, as whoever tests them knows them."""

    report: Report
    run_id: str

    @property
    def bucket(self) -> str:
        """Where plans are."""
        return self.report.world.session.settings.resource("state")

    async def plan(self) -> ChunkPlan:
        """The run's plan."""
        plan = await StoredChunkPlans(self.report.world.session.objects, self.bucket).find(self.run_id)
        assert plan is not None
        return plan

    async def splittable(self) -> list[PlannedChunk]:
        """Its chunks of many keys."""
        return [chunk for chunk in (await self.plan()).chunks if chunk.keys > 10]

    async def keys(self, chunk: PlannedChunk) -> ChunkKeys:
        """The keys of a chunk."""
        assert chunk.sha256 is not None
        return await StoredChunkPlans(self.report.world.session.objects, self.bucket).keys(self.run_id, chunk.sha256)

    async def rows(self, chunk: PlannedChunk) -> list[Row]:
        """The rows of a chunk, in the order of its keys."""
        days, ssns = (await self.keys(chunk)).values
        query = """
            SELECT visit."ID" AS id, visit."SSN" AS ssn
            FROM unnest($1::date[], $2::text[]) WITH ORDINALITY AS key (day, ssn, place)
            JOIN conflictvisitmaps AS visit ON visit."VisitDate" = key.day AND visit."SSN" IS NOT DISTINCT FROM key.ssn
            ORDER BY place, visit."ID"
        """
        found = await self.report.connection.fetch(query, [date.fromisoformat(str(day)) for day in days], ssns)
        return [Row(row["id"], row["ssn"]) for row in found]

    async def poison(self, row: Row) -> None:
        """Let a row refuse to be completed."""
        await self.report.connection.execute(REFUSES)
        await self.report.connection.execute(TRIGGER.format(name="refuse", ids=row.id))

    async def cure(self) -> None:
        """Let it be completed after all."""
        await self.report.connection.execute("DROP TRIGGER refuse ON conflictvisitmaps")

    async def slow_down(self, rows: Sequence[Row], seconds: float) -> None:
        """Let these rows take so many seconds together."""
        await self.report.connection.execute(DELAYS.format(seconds=seconds / len(rows)))
        ids = ",".join(str(row.id) for row in rows)
        await self.report.connection.execute(TRIGGER.format(name="delay", ids=ids))

    async def count_attempts(self, chunk: PlannedChunk, attempts: int) -> None:
        """Let it be as if a chunk had been tried so often before."""
        query = "UPDATE tidegate_chunks SET attempts = $3 WHERE run_id = $1 AND chunk_id = $2"
        await self.report.connection.execute(query, self.run_id, chunk.chunk_id, attempts)

    async def standings(self) -> dict[str, tuple[str, int]]:
        """State and attempts of each chunk and of each part, in the database's own ledger."""
        query = "SELECT chunk_id, state, attempts FROM tidegate_chunks WHERE run_id = $1"
        found = await self.report.connection.fetch(query, self.run_id)
        return {row["chunk_id"]: (row["state"], row["attempts"]) for row in found}

    async def damage(self, chunk: PlannedChunk | None = None) -> tuple[str, bytes]:
        """Damage the keys of a chunk, or the plan; the object's name and what was in it."""
        name = "plan.json" if chunk is None else f"chunks/{chunk.sha256}.json"
        key, objects = f"plans/{self.run_id}/{name}", self.report.world.session.objects
        body = (await objects.get(self.bucket, key)).body
        await objects.put(self.bucket, key, body[:-20])
        return key, body

    async def repair(self, damaged: tuple[str, bytes]) -> None:
        """Put back what was there."""
        await self.report.world.session.objects.put(self.bucket, damaged[0], damaged[1])

    async def receive(self, times: int) -> None:
        """Let every message of the queue be as if it had been received so often before."""
        world = self.report.world
        sqs, url = world.session.clients.sqs, await world.queue_url(QUEUE)
        count = await self.report.waits()
        for _ in range(times):
            seen: list[str] = []
            with translated("receive"):
                while len(seen) < count:
                    answer: Any = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30)
                    seen += [message["ReceiptHandle"] for message in answer.get("Messages", [])]
                for receipt in seen:
                    await sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)

    async def hold(self, verb: Verb) -> None:
        """Pause, resume or cancel the run, as an operator does."""
        session = self.report.world.session
        await hold(session.ledger, session.publisher, verb, self.run_id, ChunkPayload())

    async def told(self, *command: str, **settings: str) -> Any:
        """What an operator's command answers that must succeed."""
        ended = await self.asked(*command, "--json", **settings)
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    async def asked(self, *command: str, **settings: str) -> Ended:
        """An operator's command."""
        return await self.report.fleet.tidegate(*command, **settings)


class Listener:
    """Hears what is announced."""

    def __init__(self, report: Report, url: str) -> None:
        self._sqs = report.world.session.clients.sqs
        self._url = url
        self._heard: list[tuple[str, str]] = []

    @classmethod
    async def open(cls, report: Report) -> "Listener":
        """Subscribe a queue of its own to the facts."""
        session = report.world.session
        clients, name = session.clients, session.settings.resource("heard")
        url = (await clients.sqs.create_queue(QueueName=name))["QueueUrl"]
        found = await clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        topic = (await clients.sns.create_topic(Name=session.settings.resource("pipeline-events")))["TopicArn"]
        await clients.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=found["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return cls(report, url)

    async def heard(self) -> list[tuple[str, str]]:
        """Kind and reason of everything so far; the reason of a success is its number of records."""
        while True:
            answer: Any = await self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            if not answer.get("Messages"):
                return self._heard
            for each in answer["Messages"]:
                message = Message.model_validate_json(each["Body"])
                self._heard.append((message.kind, str(message.body.get("reason", message.body.get("records")))))
                await self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])
