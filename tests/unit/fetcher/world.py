"""One deployment of the fetcher over fakes: a source, a raw bucket, a ledger, and processes that reach them."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from contracts.envelope import Message
from contracts.fetching import FetchSegment, KeyRange
from contracts.pipelines import Pipeline
from contracts.runs import RunMode, RunState
from contracts.sources import SocrataSource
from services.fetcher.adapters.raw import S3RawObjects
from services.fetcher.ports import Ports
from services.fetcher.use_case import fetch_batch
from services.runtime.completion import Completion
from services.runtime.datasets import Block, Datasets, Position
from services.runtime.declarations import load_pipelines
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.ledger import Run, ScanCounts, SegmentEntry
from services.runtime.mirrors import StateMirrors
from services.runtime.objects import StoredObject
from services.runtime.settings import PROJECT
from tests.fakes.clock import ManualClock
from tests.fakes.datasets import FakeDataset, FakeDatasets
from tests.fakes.effects import Effects
from tests.fakes.ledger import FakeLedger
from tests.fakes.objects import FakeObjects
from tests.fakes.publishing import FakePublisher
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.watermarks import FakeWatermarks

DECLARED = load_pipelines(PROJECT / "pipelines")
NAME = "nyc_311"
RAW = "raw"
RUN_ID, RUN_DATE = "run-1", "2025-02-21"
START, END = "2025-02-20T00:00:00.000", "2025-02-21T00:00:00.000"
DAY = KeyRange(start=START, to=END)


def at(minute: int) -> str:
    """A cursor of the range."""
    return f"2025-02-20T{minute // 60:02}:{minute % 60:02}:00.000"


def row(key: int, minute: int = 0, **more: Any) -> dict[str, Any]:
    """A row of the source."""
    return {"unique_key": f"{key:08}", "created_date": at(minute), **more}


def declared(*, batch_size: int = 4, **more: Any) -> Pipeline:
    """The pipeline with some of its source declared otherwise."""
    pipeline = DECLARED[NAME]
    assert isinstance(pipeline.source, SocrataSource)
    source = pipeline.source.model_copy(update={"batch_size": batch_size, **more})
    return pipeline.model_copy(update={"source": source})


def command(segment_id: str = "s1", *, expected: int = 0, **more: Any) -> FetchSegment:
    """One command of run ``RUN_ID`` over the whole day, or over another range."""
    fields: dict[str, Any] = {
        "pipeline": NAME,
        "run_id": RUN_ID,
        "segment_id": segment_id,
        "run_date": RUN_DATE,
        "range": DAY,
        "expected_rows": expected,
    }
    return FetchSegment(**fields | more)


def delivery(payload: FetchSegment, *, receives: int = 1, name: str | None = None) -> Delivery:
    """A received message."""
    message = Message.wrap(
        payload, message_id=UUID(int=1), run_id=payload.run_id, occurred_at=ManualClock().now()
    ).model_dump_json()
    return Delivery(name or payload.segment_id, message, receives)


def key_of(segment_id: str = "s1") -> str:
    """Where a segment's raw object is."""
    return f"raw/2025/02/21/{NAME}/{RUN_ID}/{segment_id}.json.gz"


class World:
    """What processes share."""

    def __init__(self, pipeline: Pipeline | None = None, rows: Sequence[Mapping[str, Any]] = (), **more: Any) -> None:
        self.pipeline = pipeline or declared()
        assert isinstance(self.pipeline.source, SocrataSource)
        self.clock = ManualClock()
        self.dataset = FakeDataset(self.pipeline.source, [dict(row) for row in rows], **more)
        self.objects = FakeObjects({RAW: True, "other": True}, clock=self.clock)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher(self.clock)
        self.telemetry = FakeTelemetry()
        self.watermarks = FakeWatermarks(self.clock)

    async def begin(self, state: RunState = RunState.RUNNING, *segments: str) -> None:
        """Open the run, as far as this state."""
        await self.ledger.open_run(
            Run(RUN_ID, NAME, RunMode.INCREMENTAL, RunState.PLANNING, self.clock.now().isoformat())
        )
        await self.ledger.plan_segments(RUN_ID, [(segment, 0) for segment in segments or ("s1",)])
        if state is not RunState.PLANNING:
            await self.ledger.start_run(RUN_ID, planned=len(segments) or 1, scan=ScanCounts(), frontier=END)
        if state in {RunState.SUCCEEDED, RunState.FAILED}:
            await self.ledger.finish_run(RUN_ID, state, reason="because" if state is RunState.FAILED else None)

    def ports(self, effects: Effects | None = None, datasets: Datasets | None = None) -> Ports:
        """What one process works with."""
        own = effects or Effects()
        ledger, objects = self.ledger.seen_by(own), self.objects.seen_by(own)
        return Ports(
            pipelines=DECLARED | {NAME: self.pipeline},
            raw_bucket=RAW,
            datasets=datasets or FakeDatasets({NAME: self.dataset}).seen_by(own),
            raw=S3RawObjects(objects),
            ledger=ledger,
            completion=Completion(
                ledger, self.watermarks, self.publisher.seen_by(own), StateMirrors(objects, self.clock)
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    async def fetch(
        self, *commands: FetchSegment, effects: Effects | None = None, datasets: Datasets | None = None
    ) -> Outcome:
        """Handle a batch of commands that are delivered for the first time."""
        return await fetch_batch(self.ports(effects, datasets), [delivery(each) for each in commands])

    async def again(self, *commands: FetchSegment, effects: Effects | None = None) -> Outcome:
        """Handle a batch of redeliveries."""
        return await fetch_batch(self.ports(effects), [delivery(each, receives=2) for each in commands])

    def stored(self, segment_id: str = "s1", bucket: str = RAW) -> StoredObject | None:
        """The raw object of a segment, which must never have been replaced."""
        versions = self.objects.buckets[bucket].keys.get(key_of(segment_id), [])
        assert len(versions) <= 1
        return versions[0] if versions else None

    def rows(self, segment_id: str = "s1") -> list[dict[str, Any]]:
        """The rows of a segment's raw object, in order; each line is one JSON object."""
        found = self.stored(segment_id)
        assert found is not None
        text = gzip.decompress(found.body).decode()
        assert text == "" or text.endswith("\n")
        assert found.info.metadata == {"tidegate-rows": str(text.count("\n"))}
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def keys(self, segment_id: str = "s1") -> list[int]:
        """The keys of those rows."""
        return [int(row["unique_key"]) for row in self.rows(segment_id)]

    async def entry(self, segment_id: str = "s1") -> SegmentEntry:
        """What the ledger has of a segment."""
        found = await self.ledger.segment(RUN_ID, segment_id)
        assert found is not None
        return found

    async def run(self) -> Run:
        """The run."""
        found = await self.ledger.run(RUN_ID)
        assert found is not None
        return found

    def facts(self) -> list[tuple[str, str]]:
        """Kind and reason of each announcement."""
        return [(message.kind, message.body.get("reason", "")) for message in self.publisher.announced()]


class OtherPages(FakeDataset):
    """The fake's dataset, whose pages are made by a function of the real ones."""

    def __init__(self, world: World, change: Callable[[int], Exception | None] = lambda _: None) -> None:
        super().__init__(world.dataset.source, world.dataset.rows)
        self.asked = 0
        self._change = change

    def of(self, pipeline: str) -> "OtherPages":
        """Be the datasets, too."""
        assert pipeline == NAME
        return self

    async def page(self, within: KeyRange, after: Position | None, limit: int) -> Block:
        """The page, or the exception that the function gives for this request (counted from 1)."""
        self.asked += 1
        error = self._change(self.asked)
        if error is not None:
            raise error
        return await super().page(within, after, limit)
