"""The responses of ended runs, as the callers of the functions they replace know them."""

from datetime import datetime

from contracts.runs import CollectBody, CollectResponse, ErrorDetails, ErrorResponse, RunState, ScanResponse
from services.runtime.checkpoints import Head
from services.runtime.conservation import Conservation
from services.runtime.ledger import Run

OK = 200
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


def _refuse(run: Run, table: Conservation, files: list[str]) -> ErrorResponse:
    quarantined = sum(hop.quarantined for hop in table.hops)
    return ErrorResponse(
        status_code=FAILED,
        error="RunFailed",
        message=run.reason or f"run {run.run_id} is {run.state}",
        details=ErrorDetails(failed_files=files, error_count=max(len(files), quarantined)),
    )
