"""One batch of announcements and commands → validated segments and quarantine.

Order of effects: quarantine object → segment object → ledger. Each is idempotent: names depend on content only, so
a redelivery rewrites the same objects, and the merger recognises occurrences that another segment carries already.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import structlog

from contracts.catalog import VALIDATOR_COMMANDS
from contracts.envelope import UnreadableMessageError, open_message
from contracts.runs import RunFailed, RunMode, RunState
from contracts.segments import Occurrence, ValidateSegment
from services.runtime.declarations import pipeline_for
from services.runtime.deliveries import Delivery, Outcome
from services.runtime.failures import (
    AccessDeniedError,
    BadDeclarationError,
    MalformedError,
    MissingObjectError,
    PermanentError,
    TemporaryError,
    TidegateError,
)
from services.runtime.ledger import Run
from services.runtime.notifications import is_notification, read_notification
from services.runtime.telemetry import correlated
from services.validator.core.records import Judged, judge
from services.validator.core.segments import (
    QuarantineEntry,
    Read,
    SegmentWork,
    decide,
    events_run_id,
    form_segments,
)
from services.validator.ports import Ports

log = structlog.get_logger()

OBJECT_MISSING = "object-missing"


async def validate_batch(ports: Ports, deliveries: Sequence[Delivery]) -> Outcome:
    """Validate everything a batch asks for; what cannot be done now comes back alone."""
    outcome = Outcome()
    for work in await _read_requests(ports, deliveries, outcome):
        with correlated(run_id=work.run_id, segment_id=work.segment_id, pipeline=work.pipeline.name):
            try:
                await _validate(ports, work)
            except AccessDeniedError as error:
                await _refuse(ports, work, error, outcome)
            except TidegateError as error:
                log.warning("segment not validated", error=str(error), kind=type(error).__name__)
                delay = error.delay if isinstance(error, TemporaryError) else None
                outcome.fail(sorted(work.deliveries), str(error), delay=delay)
    ports.telemetry.flush()
    return outcome


async def _read_requests(ports: Ports, deliveries: Sequence[Delivery], outcome: Outcome) -> list[SegmentWork]:
    announced: dict[str, list[tuple[str, Occurrence]]] = {}
    works: list[SegmentWork] = []
    for delivery in deliveries:
        try:
            if is_notification(delivery.body):
                for occurrence in read_notification(delivery.body):
                    pipeline = pipeline_for(
                        ports.pipelines, occurrence.bucket, occurrence.key, default_bucket=ports.raw_bucket
                    )
                    if pipeline is None:
                        log.info("no pipeline reads this object", uri=occurrence.uri)
                    else:
                        announced.setdefault(pipeline.name, []).append((delivery.id, occurrence))
            else:
                works.append(await _planned(ports, delivery))
        except (MalformedError, MissingObjectError, BadDeclarationError, UnreadableMessageError) as error:
            log.error("unreadable delivery", error=str(error), delivery=delivery.id)
            outcome.fail([delivery.id], str(error))
    for name, occurrences in announced.items():
        works += form_segments(ports.pipelines[name], occurrences, events_run_id(name, ports.clock.now()))
    return works


async def _planned(ports: Ports, delivery: Delivery) -> SegmentWork:
    _, command = open_message(delivery.body, VALIDATOR_COMMANDS)
    if not isinstance(command, ValidateSegment):
        raise MalformedError(f"{command.kind()} is not for the validator")
    pipeline = ports.pipelines.get(command.pipeline)
    if pipeline is None:
        raise BadDeclarationError(f"there is no pipeline {command.pipeline!r} here")
    occurrences = (await ports.claims.occurrences(command.occurrences)).occurrences
    since = None if command.since_timestamp is None else datetime.fromisoformat(command.since_timestamp)
    return SegmentWork(
        pipeline=pipeline,
        run_id=command.run_id,
        segment_id=command.segment_id,
        occurrences=tuple(occurrences),
        deliveries=frozenset([delivery.id]),
        received=len(occurrences),
        planned=True,
        destination=command.destination,
        since_timestamp=since,
        replay=command.replay,
    )


async def _validate(ports: Ports, work: SegmentWork) -> None:
    started = ports.clock.monotonic()
    read, judged = await _read_and_judge(ports, work)
    files, quarantined = decide(work, read, judged, default_bucket=ports.target_bucket(work.pipeline))
    if not work.planned:
        await ports.ledger.open_run(
            Run(
                run_id=work.run_id,
                pipeline=work.pipeline.name,
                mode=RunMode.EVENTS,
                state=RunState.RUNNING,
                started_at=ports.clock.now().isoformat(),
            )
        )
    if quarantined:
        await ports.segments.quarantine(work, quarantined)
        for entry in quarantined:
            log.warning("quarantined", source=entry.occurrence.uri, reason=entry.reason, errors=entry.errors)
    # Parts beyond the first are entered before the first is written: a run is complete only when all are merged.
    extra = [(f.descriptor.segment_id, f.descriptor.counts.received) for f in files[1:]]
    if extra:
        await ports.ledger.plan_segments(work.run_id, extra)
    for file in reversed(files):
        with ports.telemetry.segment("write"):
            location = await ports.segments.write(file)
        await ports.ledger.segment_validated(work.run_id, file.descriptor.segment_id, file.descriptor.counts, location)
    _report(ports, work, read, judged, len(quarantined), ports.clock.monotonic() - started)


async def _read_and_judge(ports: Ports, work: SegmentWork) -> tuple[Read, Judged]:
    prefix = "" if work.planned else None  # a plan may have been made for another prefix
    fits = [work.pipeline.source.accepts(o.key, prefix=prefix) for o in work.occurrences]
    accepted = [o for o, fit in zip(work.occurrences, fits, strict=True) if fit]
    ignored = tuple(o for o, fit in zip(work.occurrences, fits, strict=True) if not fit)
    with ports.telemetry.segment("get"):
        bodies = await ports.reader.read_many(accepted, in_flight=work.pipeline.limits.reads_in_flight)
    found: list[tuple[Occurrence, bytes]] = []
    lost: list[QuarantineEntry] = []
    for occurrence, body in zip(accepted, bodies, strict=True):
        if isinstance(body, PermanentError):
            lost.append(QuarantineEntry(occurrence, OBJECT_MISSING, [{"msg": str(body)}]))
        else:
            found.append((occurrence, body))
    documents = [body for _, body in found]
    with ports.telemetry.segment("validate"):
        judged = await asyncio.to_thread(judge, documents, work.pipeline.record or "")
    return Read(tuple(o for o, _ in found), ignored, tuple(lost)), judged


def _report(ports: Ports, work: SegmentWork, read: Read, judged: Judged, quarantined: int, seconds: float) -> None:
    name = work.pipeline.name
    ports.telemetry.metric("RowsIn", work.received, pipeline=name)
    ports.telemetry.metric("RowsOut", len(judged.frame), pipeline=name)
    ports.telemetry.metric("EventsFailed", quarantined, pipeline=name)
    log.info(
        "segment validated",
        received=work.received,
        valid=len(judged.frame),
        quarantined=quarantined,
        ignored=len(read.ignored),
        duplicates=work.received - len(work.occurrences),
        seconds=round(seconds, 3),
    )


async def _refuse(ports: Ports, work: SegmentWork, error: AccessDeniedError, outcome: Outcome) -> None:
    """Access denied fails a planned run; announced objects go back and, in the end, to the DLQ for a redrive."""
    log.error("access denied", error=str(error))
    if work.planned:
        await ports.ledger.finish_run(work.run_id, RunState.FAILED, reason=str(error))
        fact = RunFailed(pipeline=work.pipeline.name, run_id=work.run_id, reason=str(error))
        await ports.publisher.announce(fact, run_id=work.run_id)
    else:
        outcome.fail(sorted(work.deliveries), str(error))
