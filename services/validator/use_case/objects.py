"""One segment of uploaded objects → validated segments and quarantine.

Order of effects: quarantine object → segment object → ledger. Each is idempotent: names depend on content only, so
a redelivery rewrites the same objects, and the merger recognises occurrences that another segment carries already.
"""

import asyncio

import structlog

from contracts.runs import RunMode, RunState
from contracts.segments import Occurrence
from services.runtime.failures import PermanentError
from services.runtime.ledger import Run
from services.validator.core.records import Judged, judge
from services.validator.core.segments import QuarantineEntry, Read, SegmentWork, decide
from services.validator.ports import Ports
from services.validator.use_case.counting import count

log = structlog.get_logger()

OBJECT_MISSING = "object-missing"


async def validate_objects(ports: Ports, work: SegmentWork) -> None:
    """Make the segments of some uploaded objects; those that are gone go into quarantine."""
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
    count(ports, work.pipeline.name, [file.descriptor.counts for file in files])
    _report(work, read, judged, len(quarantined), ports.clock.monotonic() - started)


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


def _report(work: SegmentWork, read: Read, judged: Judged, quarantined: int, seconds: float) -> None:
    log.info(
        "segment validated",
        received=work.received,
        valid=len(judged.frame),
        quarantined=quarantined,
        ignored=len(read.ignored),
        duplicates=work.received - len(work.occurrences),
        seconds=round(seconds, 3),
    )
