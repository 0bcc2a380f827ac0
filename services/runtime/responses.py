"""The responses of ended runs, as the callers of the functions they replace know them."""

from collections.abc import Mapping
from datetime import datetime

from contracts.runs import (
    ChunkRunBody,
    ChunkRunResponse,
    CollectBody,
    CollectResponse,
    EntityOutcome,
    ErrorDetails,
    ErrorResponse,
    LoadBody,
    LoadResponse,
    RunState,
    ScanResponse,
)
from services.runtime.checkpoints import Head
from services.runtime.conservation import Conservation
from services.runtime.ledger import Run

OK = 200
PARTLY = 207
FAILED = 500


def respond(
    run: Run, table: Conservation, head: Head, failed_files: list[str] | None = None
) -> ScanResponse | ErrorResponse:
    """What an ended run of an object pipeline answers; a failed one answers in the error format."""
    if run.state is not RunState.SUCCEEDED:
        return _refuse(run, table, failed_files or [])
    quarantined = sum(hop.quarantined for hop in table.hops)
    ended = datetime.fromisoformat(run.finished_at or run.started_at)
    return ScanResponse(
        status_code=OK,
        checkpoint_path=run.destination or f"s3://{head.checkpoint}",
        new_events_processed=table.records,
        total_events=head.total_rows,
        events_failed=quarantined,
        last_processed_timestamp=head.max_cursor,
        execution_time_ms=round((ended - datetime.fromisoformat(run.started_at)).total_seconds() * 1000),
        run_id=run.run_id,
    )


def respond_collected(
    run: Run, table: Conservation, failed_files: list[str] | None = None
) -> CollectResponse | ErrorResponse:
    """What an ended run of a collected pipeline answers; a failed one answers in the error format.

    A replay reads nothing of the source: its ``date_range`` is empty.
    """
    if run.state is not RunState.SUCCEEDED:
        return _refuse(run, table, failed_files or [])
    covered = run.collection
    return CollectResponse(
        status_code=OK,
        body=CollectBody(
            message="Data ingestion successful" if table.records else "No new data available",
            records=table.records,
            mode=run.mode,
            date_range="" if covered is None else f"{covered.start} to {covered.end}",
            run_id=run.run_id,
        ),
    )


def respond_loads(run: Run, entities: Mapping[str, tuple[Run, Conservation, str | None]]) -> LoadResponse:
    """What an ended run of a group, or of one entity, answers.

    ``entities`` are the runs that it consists of, each with its table and with what its watermark says now. A
    group's run that could not even begin failed as a whole.
    """
    outcomes = {
        entity: EntityOutcome(
            state=child.state, records=table.records, last_sync_timestamp=reached, reason=child.reason
        )
        for entity, (child, table, reached) in entities.items()
    }
    failed = [entity for entity, outcome in outcomes.items() if outcome.state is not RunState.SUCCEEDED]
    records = sum(outcome.records for outcome in outcomes.values())
    if run.state is RunState.SUCCEEDED:
        status, message = OK, "Data ingestion successful" if records else "No new data available"
    else:
        status = PARTLY if len(failed) < len(outcomes) else FAILED
        message = run.reason or f"run {run.run_id} is {run.state}"
    return LoadResponse(
        status_code=status,
        body=LoadBody(message=message, run_id=run.run_id, load_type=run.mode.value, records=records, entities=outcomes),
    )


def respond_chunks(run: Run, table: Conservation) -> ChunkRunResponse:
    """What an ended chunked run answers; ``table`` is the one of its chunks."""
    succeeded = run.state is RunState.SUCCEEDED
    done = "Chunked run successful" if table.records else "No rows to work on"
    ended = datetime.fromisoformat(run.finished_at or run.started_at)
    return ChunkRunResponse(
        status_code=OK if succeeded else FAILED,
        body=ChunkRunBody(
            message=done if succeeded else run.reason or f"run {run.run_id} is {run.state}",
            run_id=run.run_id,
            chunks=run.planned or 0,
            chunks_failed=run.failed,
            rows=table.records,
            seconds=(ended - datetime.fromisoformat(run.started_at)).total_seconds(),
        ),
    )


def _refuse(run: Run, table: Conservation, files: list[str]) -> ErrorResponse:
    quarantined = sum(hop.quarantined for hop in table.hops)
    return ErrorResponse(
        status_code=FAILED,
        error="RunFailed",
        message=run.reason or f"run {run.run_id} is {run.state}",
        details=ErrorDetails(failed_files=files, error_count=max(len(files), quarantined)),
    )
