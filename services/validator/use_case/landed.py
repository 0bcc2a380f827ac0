"""One raw object of an entity → a segment of its load.

Order of effects: drift → ledger (fetched) → quarantine object → landing file → what is said of it → ledger. Each is
idempotent, and nothing is passed on of an object that holds anything bad: its entity's run fails instead, so that the
watermark stays where it is, and the next run reads all of it again.
"""

import structlog

from contracts.runs import RunState
from contracts.segments import SegmentCounts
from services.runtime.failures import BadDeclarationError, MalformedError
from services.runtime.ledger import Run
from services.validator.core.landed.segments import (
    LandedWork,
    Rows,
    check_name,
    is_over,
    landed_segment,
    load_type_of,
    reopened,
)
from services.validator.ports import LandedStore, Ports
from services.validator.use_case.counting import count
from services.validator.use_case.entries import enter, tell_drift
from services.validator.use_case.landing_files import prove_file
from services.validator.use_case.records import judge_records, land_records

log = structlog.get_logger()


async def validate_landed(ports: Ports, work: LandedWork) -> None:
    """Make the segment of one raw object, or fail the entity's run.

    Raises:
        MalformedError: the object is not whole, or not what it should be; nothing was written.
        MissingObjectError: it is gone.
    """
    if ports.landed is None:
        raise BadDeclarationError("there is nowhere to keep segments of entities here")
    run = await ports.ledger.run(work.run_id)
    if run is not None and is_over(run):
        await _skip(ports, work, run)
    elif work.replay:
        await _refuse_replay(ports, work, run)
    elif work.is_typed:
        check_name(work)
        await _validate_file(ports, ports.landed, work)
    else:
        check_name(work)
        await _validate_records(ports, ports.landed, work, run)


async def _validate_file(ports: Ports, store: LandedStore, work: LandedWork) -> None:
    started = ports.clock.monotonic()
    rows = await prove_file(ports, work)
    await enter(ports, work, rows.count, reopened(work, rows.load_type, ports.clock.now().isoformat()))
    if rows.proven.faults:
        await _fail(ports, work, f"{'; '.join(rows.proven.faults)} (segment {work.segment_id})")
    else:
        await _pass_on(ports, store, work, rows, started)
    valid = 0 if rows.proven.faults else rows.count
    count(ports, work.pipeline.name, [SegmentCounts(received=rows.count, rows=valid)])


async def _validate_records(ports: Ports, store: LandedStore, work: LandedWork, run: Run | None) -> None:
    started = ports.clock.monotonic()
    load_type = load_type_of(run)
    judged = await judge_records(ports, work, load_type)
    await tell_drift(ports, work, judged.unknown)
    await enter(ports, work, judged.received, reopened(work, load_type, ports.clock.now().isoformat()))
    if judged.bad:
        await ports.segments.quarantine(work, judged.bad)
        await _fail(ports, work, judged.reason(work.pipeline.name))
    else:
        rows = await land_records(ports, store, work, load_type, judged)
        await _pass_on(ports, store, work, rows, started)
    valid = 0 if judged.bad else judged.rows.height
    counts = SegmentCounts(received=judged.received, rows=valid, quarantined=len(judged.bad))
    count(ports, work.pipeline.name, [counts])


async def _pass_on(ports: Ports, store: LandedStore, work: LandedWork, rows: Rows, started: float) -> None:
    segment = landed_segment(work, rows)
    with ports.telemetry.segment("write"):
        location = await store.write(segment)
    await ports.ledger.segment_validated(work.run_id, work.segment_id, segment.counts, location)
    log.info(
        "segment validated",
        rows=rows.count,
        chunks=len(rows.chunks),
        until=segment.greatest_cursor,
        seconds=round(ports.clock.monotonic() - started, 3),
    )


async def _skip(ports: Ports, work: LandedWork, run: Run) -> None:
    log.info("run is over, nothing is validated for it", state=run.state, reason=run.reason)
    if run.state is RunState.FAILED and work.again:
        # It may be this delivery that failed the run, and died before it could say so.
        await ports.completion.fail(run, run.reason or "")


async def _refuse_replay(ports: Ports, work: LandedWork, run: Run | None) -> None:
    name = work.pipeline.name
    reason = f"raw objects of {name} are not judged again: run {name} again, which reads what is wanted from its source"
    if run is None:
        raise MalformedError(reason)
    await ports.completion.fail(run, reason)


async def _fail(ports: Ports, work: LandedWork, reason: str) -> None:
    run = await ports.ledger.run(work.run_id)
    if run is None:
        raise MalformedError(f"run {work.run_id} has just been opened, and is not in the ledger")
    await ports.completion.fail(run, reason)
