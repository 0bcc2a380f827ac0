"""What trials of permissions are made of: runs, objects and messages that are nobody's work and end by themselves."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal
from uuid import uuid4

from contracts.envelope import ClaimCheck, Payload
from contracts.runs import RunMode, RunState
from contracts.segments import Destination, MergeSegment, Occurrence, OccurrenceList, ValidateSegment, segment_id_of
from contracts.sources import FetchedName
from services.console.demo.visit_events import generate
from services.console.session import Session
from services.runtime.ledger import Run, ScanCounts
from tests.deploy.asking import Asking, Json, eventually

VISITS, PORTAL, ENTITY = "visit_events", "nyc_311", "ecommerce.customers"
JOB = "conflict_report"
AGAIN = 2
"""Receives of a message whose first receiver may have died."""
Expected = Literal["merged", "quarantined"]
SAMPLES = {upload.expected: upload for upload in generate(7, 200)}
"""An upload for each of the things that can come of one."""
OFF = "trials/"
"""Prefix of objects that no event is about."""
LONG_AGO, VERSION_OF_NOBODY = "2001-01-01T00:00:00+00:00", 10**6
"""A frontier that moves no watermark."""


@dataclass(frozen=True)
class Trial:
    """What a function is asked, and the run whose preview it makes of it, if it does."""

    event: Json
    shown: str | None = None


@dataclass
class Remains:
    """What a trial may use again."""

    uploads: dict[str, Occurrence] = field(default_factory=dict)


@dataclass(frozen=True)
class Forge:
    """Makes what a trial needs in a deployed stack."""

    asking: Asking
    remains: Remains

    @property
    def session(self) -> Session:
        """The operator's session."""
        return self.asking.session

    def new(self, what: str) -> str:
        """A name that was never used."""
        return f"{what}-{uuid4().hex[:12]}"

    def command(self, queue: str, payload: Payload, run_id: str, *, receives: int = 1) -> Json:
        """An event that hands over one command."""
        return self.asking.event(queue, self.asking.message(payload, run_id), receives=receives)

    async def open_run(self, pipeline: str, run_id: str, mode: RunMode, **more: object) -> Run:
        """Open a run that is being planned."""
        now = self.session.clock.now().isoformat()
        run = Run(run_id=run_id, pipeline=pipeline, mode=mode, state=RunState.PLANNING, started_at=now, **more)  # type: ignore[arg-type]
        assert await self.session.ledger.open_run(run)
        return run

    async def run_of_one(self, pipeline: str, mode: RunMode, segment_id: str, *, rows: int = 0) -> str:
        """A run of one planned segment; its end moves no watermark, whoever ends it."""
        run_id = self.new(mode.value)
        await self.open_run(pipeline, run_id, mode)
        await self.session.ledger.plan_segments(run_id, [(segment_id, rows)])
        counts = ScanCounts(listed=rows, dispatched=rows)
        await self.session.ledger.start_run(
            run_id, planned=1, scan=counts, frontier=LONG_AGO, watermark_version=VERSION_OF_NOBODY
        )
        return run_id

    async def failed_run(self, pipeline: str) -> str:
        """A run that has failed, the only one of a group's run that nobody has ended yet."""
        ledger, parent = self.session.ledger, self.new("group")
        run_id = f"{parent}.entity"
        log = f"{self.session.settings.resource('processed')}/logs/{OFF}{parent}.log"
        await self.open_run("ecommerce", parent, RunMode.FULL, children=(run_id,), log=log)
        await self.open_run(pipeline, run_id, RunMode.FULL, parent=parent)
        assert await ledger.finish_run(run_id, RunState.FAILED, reason="it was made to fail")
        return run_id

    async def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> Occurrence:
        """Put an object."""
        info = await self.session.objects.put(bucket, key, body, metadata=metadata)
        return Occurrence(bucket=bucket, key=key, version_id=info.version_id, etag=info.etag, size=len(body))

    async def upload(self, expected: Expected) -> Occurrence:
        """An event file of which this came, put once and waited for."""
        if expected not in self.remains.uploads:
            pipeline, sample = self.session.pipeline(VISITS), SAMPLES[expected]
            key = f"{pipeline.source.prefix}{self.new('trial')}/{sample.name}"
            found = await self.put(self.session.source_bucket(pipeline), key, sample.body)

            async def is_settled() -> bool:
                epoch = await self.session.checkpoints.epoch(VISITS)
                return bool(await self.session.occurrences.find(VISITS, [found.id], epoch=epoch))

            await eventually(is_settled, f"the upload is {expected}")
            self.remains.uploads[expected] = found
        return self.remains.uploads[expected]

    async def event_file(self) -> Occurrence:
        """An event file that only those read who are told to."""
        pipeline, sample = self.session.pipeline(VISITS), SAMPLES["merged"]
        return await self.put(
            self.session.source_bucket(pipeline), f"{OFF}{self.new('file')}/{sample.name}", sample.body
        )

    async def raw_rows(self, *rows: Json) -> tuple[FetchedName, Occurrence]:
        """A raw object as the fetcher writes it, in a run that is made of it alone."""
        pipeline = self.session.pipeline(PORTAL)
        run_id = await self.run_of_one(PORTAL, RunMode.INCREMENTAL, "trial")
        day = self.session.clock.now().date().isoformat()
        name = FetchedName(run_date=day, pipeline=PORTAL, run_id=run_id, segment_id="trial")
        body = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
        bucket, key = self.session.source_bucket(pipeline), name.key(pipeline.source.prefix)
        return name, await self.put(bucket, key, body, {"tidegate-rows": str(len(rows))})

    async def validation(self, destination: Destination | None = None) -> tuple[ValidateSegment, Destination]:
        """A command for a segment of one event file, for a checkpoint that there is not yet or for a given one."""
        occurrence = await self.event_file()
        segment_id = segment_id_of([occurrence])
        run_id = await self.run_of_one(VISITS, RunMode.SCAN, segment_id, rows=1)
        bucket = self.session.settings.resource("checkpoints")
        destination = destination or Destination(bucket=bucket, key=f"{OFF}{run_id}.parquet")
        body = OccurrenceList(occurrences=[occurrence]).model_dump_json().encode()
        state, key = self.session.settings.resource("state"), f"plans/{run_id}/{segment_id}.json"
        await self.put(state, key, body)
        claim = ClaimCheck(bucket=state, key=key, sha256=sha256(body).hexdigest(), size=len(body))
        command = ValidateSegment(
            pipeline=VISITS, run_id=run_id, segment_id=segment_id, destination=destination, occurrences=claim
        )
        return command, destination

    async def segment(self, destination: Destination | None = None) -> tuple[MergeSegment, Destination]:
        """A segment of one event file as the validator makes it, and the command to merge it."""
        command, destination = await self.validation(destination)
        answer = await self.asking.invoke("validator", self.command("validate-objects", command, command.run_id))
        assert not answer.failed, answer
        key = f"{VISITS}/{command.run_id}/{command.segment_id}.parquet"
        return MergeSegment(bucket=self.session.settings.resource("validated"), key=key), destination
