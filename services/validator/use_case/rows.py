"""One raw object of fetched rows → validated segments and quarantine.

Order of effects: drift → ledger (fetched) → quarantine object → ledger (further parts) → segment objects → ledger. Each
is idempotent, and nothing is written before the whole object was judged.
"""

import asyncio
from collections import Counter

import structlog

from contracts.runs import RunMode, RunState
from contracts.segments import Occurrence
from services.runtime.failures import MalformedError
from services.runtime.ledger import Run
from services.runtime.objects import StoredObject
from services.validator.core.declared.judge import RowJudge
from services.validator.core.fetched import ROWS, FetchedWork, JudgedObject, decide_fetched, judge_object
from services.validator.core.segments import SegmentFile
from services.validator.core.unpacking import blocks_of
from services.validator.ports import Ports
from services.validator.use_case.counting import count
from services.validator.use_case.entries import enter, tell_drift

log = structlog.get_logger()


async def validate_rows(ports: Ports, work: FetchedWork) -> None:
    """Make the segments of one raw object.

    Raises:
        MalformedError: the object is not whole; nothing was written.
        MissingObjectError: it is gone.
    """
    started = ports.clock.monotonic()
    with ports.telemetry.segment("get"):
        stored = await ports.objects.get(work.bucket, work.key)
    with ports.telemetry.segment("validate"), ports.judges.lend(work.pipeline) as judge:
        judged, files = await asyncio.to_thread(_judge, ports, work, stored, judge)
    await tell_drift(ports, work, judged.unknown)
    await enter(ports, work, judged.received, _lost(ports, work))
    if judged.quarantined:
        await ports.segments.quarantine(work, judged.quarantined)
    # Parts beyond the first are entered before the first is written: a run is complete only when all are merged.
    extra = [(f.descriptor.segment_id, f.descriptor.counts.received) for f in files[1:]]
    if extra:
        await ports.ledger.plan_segments(work.run_id, extra)
    for file in reversed(files):
        with ports.telemetry.segment("write"):
            location = await ports.segments.write(file)
        await ports.ledger.segment_validated(work.run_id, file.descriptor.segment_id, file.descriptor.counts, location)
    _report(ports, work, judged, files, ports.clock.monotonic() - started)


def _judge(
    ports: Ports, work: FetchedWork, stored: StoredObject, judge: RowJudge
) -> tuple[JudgedObject, list[SegmentFile]]:
    info = stored.info
    occurrence = Occurrence(
        bucket=work.bucket, key=work.key, version_id=info.version_id, etag=info.etag, size=info.size
    )
    promised = info.metadata.get(ROWS, "")
    try:
        judged = judge_object(work, occurrence, blocks_of(stored.body), judge)
    except MalformedError as error:
        raise MalformedError(f"{occurrence.uri}: {error}") from error
    if str(judged.received) != promised:
        raise MalformedError(f"{occurrence.uri} has {judged.received} rows, and its {ROWS} is {promised!r}")
    return judged, decide_fetched(work, judged, default_bucket=ports.target_bucket(work.pipeline))


def _lost(ports: Ports, work: FetchedWork) -> Run:
    return Run(
        run_id=work.run_id,
        pipeline=work.pipeline.name,
        mode=RunMode.INCREMENTAL,
        state=RunState.RUNNING,
        started_at=ports.clock.now().isoformat(),
    )


def _report(ports: Ports, work: FetchedWork, judged: JudgedObject, files: list[SegmentFile], seconds: float) -> None:
    name, metric = work.pipeline.name, ports.telemetry.metric
    count(ports, name, [file.descriptor.counts for file in files])
    for column, values in sorted(judged.nulled.items()):
        metric("ValuesNulled", values, pipeline=name, column=column)
    if judged.quarantined:
        first = judged.quarantined[0]
        log.warning(
            "rows quarantined",
            uri=first.occurrence.uri,
            reasons=dict(Counter(entry.reason for entry in judged.quarantined)),
            first_line=None if first.row is None else first.row.line,
            first_errors=first.errors,
        )
    log.info(
        "segment validated",
        received=judged.received,
        valid=len(judged.rows),
        quarantined=len(judged.quarantined),
        filtered=len(judged.filtered),
        nulled=dict(judged.nulled),
        files=len(files),
        seconds=round(seconds, 3),
    )
