"""The response of a scan, as the callers of an event-log checkpoint function know it."""

from datetime import datetime

from contracts.runs import ErrorDetails, ErrorResponse, RunState, ScanResponse
from services.runtime.checkpoints import Head
from services.runtime.conservation import Conservation
from services.runtime.ledger import Run

OK = 200
FAILED = 500


def respond(
    run: Run, table: Conservation, head: Head, failed_files: list[str] | None = None
) -> ScanResponse | ErrorResponse:
    """What an ended run answers; a failed one answers in the error format."""
    quarantined = sum(hop.quarantined for hop in table.hops)
    if run.state is not RunState.SUCCEEDED:
        files = failed_files or []
        return ErrorResponse(
            status_code=FAILED,
            error="RunFailed",
            message=run.reason or f"run {run.run_id} is {run.state}",
            details=ErrorDetails(failed_files=files, error_count=max(len(files), quarantined)),
        )
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
