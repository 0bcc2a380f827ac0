"""dlt as its documentation teaches: REST API source, offset paginator, cursor, primary key, Parquet files on S3.

Two choices in its favour. Rows are ordered by ``unique_key`` within one ``created_date``, so that pages are stable
while nothing is published. And the columns that are not text are declared, so that the output is typed and a GeoJSON
point stays one column instead of becoming a nested table.

Without table format the filesystem destination appends: its ``merge`` is documented to do the same.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dlt  # type: ignore[import-not-found, import-untyped, unused-ignore]
from dlt.sources.rest_api import rest_api_source  # type: ignore[import-not-found, import-untyped, unused-ignore]

from bench.nyc_311.job import LOOKBACK, OUTPUT_PREFIX, WANTED, Job, carry_out

TABLE = "service_requests"
DATASET = "nyc_311"
COLUMNS = {
    **{
        name: {"data_type": "timestamp", "timezone": False}
        for name in ("created_date", "closed_date", "due_date", "resolution_action_updated_date")
    },
    **{name: {"data_type": "double"} for name in ("latitude", "longitude")},
    **{name: {"data_type": "bigint"} for name in ("x_coordinate_state_plane", "y_coordinate_state_plane")},
    "location": {"data_type": "json"},
}


def collect(job: Job, *, lag_s: float | None = None) -> Mapping[str, object]:
    """One run of the pipeline; ``lag_s`` reads that many seconds before the cursor again."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # nothing but the source and S3 is to be talked to
    pipeline = dlt.pipeline(
        pipeline_name="nyc_311",
        pipelines_dir=str(job.state),
        destination=dlt.destinations.filesystem(bucket_url=f"s3://{job.processed}/{OUTPUT_PREFIX}"),
        dataset_name=DATASET,
    )
    pipeline.run(rest_api_source(declared(job, lag_s)), loader_file_format="parquet")
    trace = pipeline.last_trace
    counted = trace.last_normalize_info if trace else None
    return {"rows": counted.row_counts.get(TABLE, 0) if counted else 0}


def declared(job: Job, lag_s: float | None) -> Any:
    """The source's configuration."""
    resource: dict[str, Any] = {
        "name": TABLE,
        "primary_key": "unique_key",
        "write_disposition": "append",
        "columns": COLUMNS,
        "endpoint": {
            "path": f"{job.dataset}.json",
            "params": {
                "$where": f"{WANTED} and created_date >= '{{incremental.start_value}}'",
                "$order": "created_date,unique_key",
            },
            "incremental": {"cursor_path": "created_date", "initial_value": text_of(job.now - LOOKBACK)},
        },
    }
    if lag_s is not None:
        # Only a cursor of times can be moved back by seconds, and the source knows its own text form only.
        resource["processing_steps"] = [{"map": with_time}]
        times = {"initial_value": job.now - LOOKBACK, "lag": lag_s, "convert": text_of}
        resource["endpoint"]["incremental"] |= times
    paginator = {
        "type": "offset",
        "limit": job.page_rows,
        "limit_param": "$limit",
        "offset_param": "$offset",
        "total_path": None,
    }
    return {"client": {"base_url": f"{job.domain}/resource/", "paginator": paginator}, "resources": [resource]}


def text_of(moment: datetime) -> str:
    """A floating timestamp, as the source writes it."""
    return moment.isoformat(timespec="milliseconds")


def with_time(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose cursor is a time instead of text."""
    row["created_date"] = datetime.fromisoformat(row["created_date"])
    return row


if __name__ == "__main__":
    carry_out(collect)
