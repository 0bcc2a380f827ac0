"""The straightforward collector: requests pages by offset, pandas makes typed Parquet by month, a file keeps the time.

The state is when the last run started; the next one asks for rows created more than a second after that.
"""

import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import boto3  # type: ignore[import-untyped, unused-ignore]
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import requests  # type: ignore[import-untyped, unused-ignore]
from botocore.exceptions import ClientError

from bench.nyc_311.job import LOOKBACK, OUTPUT_PREFIX, WANTED, Job, carry_out

STATE_KEY = "pipeline_state/last_run_timestamp.json"
TIMEOUT_S = 60
TIMES = ("created_date", "closed_date", "due_date", "resolution_action_updated_date")
NUMBERS = ("latitude", "longitude", "x_coordinate_state_plane", "y_coordinate_state_plane")


def collect(job: Job) -> Mapping[str, object]:
    """One run, from reading the state to writing it."""
    s3 = boto3.client("s3")
    last_run = read_state(s3, job.processed)
    rows = [row for page in pages(job, condition(job, last_run)) for row in page]
    if rows:
        write_raw(s3, job, rows)
        write_months(s3, job, typed(rows))
    write_state(s3, job)
    return {"rows": len(rows)}


def condition(job: Job, last_run: datetime | None) -> str:
    """Which rows this run asks for."""
    if last_run is None:
        return f"{WANTED} and created_date >= '{moment(job.now - LOOKBACK)}'"
    since = last_run + timedelta(seconds=1)
    return f"{WANTED} and created_date > '{moment(since)}' and created_date <= '{moment(job.now)}'"


def moment(when: datetime) -> str:
    """A floating timestamp, in milliseconds."""
    return when.isoformat(timespec="milliseconds")


def pages(job: Job, where: str) -> Iterator[list[dict[str, Any]]]:
    """Pages in order of creation, until one is not full."""
    offset = 0
    with requests.Session() as session:
        while True:
            query: dict[str, str | int] = {
                "$where": where,
                "$order": "created_date",
                "$limit": job.page_rows,
                "$offset": offset,
            }
            answer = session.get(f"{job.domain}/resource/{job.dataset}.json", params=query, timeout=TIMEOUT_S)
            answer.raise_for_status()
            page = answer.json()
            yield page
            if len(page) < job.page_rows:
                return
            offset += len(page)


def typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows with times and numbers; what does not parse becomes null."""
    frame = pd.DataFrame(rows)
    for column in frame.columns.intersection(TIMES):
        frame[column] = pd.to_datetime(frame[column], errors="coerce")
    for column in frame.columns.intersection(NUMBERS):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    if "location" in frame:
        frame["location"] = frame["location"].map(json.dumps, na_action="ignore")
    return frame


def write_raw(s3: Any, job: Job, rows: list[dict[str, Any]]) -> None:
    """Keep the answers as they came, in one object a day."""
    s3.put_object(Bucket=job.raw, Key=f"raw/{job.now:%Y/%m/%d}/data.json", Body=json.dumps(rows).encode())


def write_months(s3: Any, job: Job, frame: pd.DataFrame) -> None:
    """One Parquet file for each month of creation, named by the day of the run."""
    created = frame["created_date"].dt
    for (year, month), part in frame.groupby([created.year, created.month]):
        buffer = io.BytesIO()
        part.to_parquet(buffer, index=False)
        key = f"{OUTPUT_PREFIX}year={year:04d}/month={month:02d}/data_{job.now:%Y-%m-%d}.parquet"
        s3.put_object(Bucket=job.processed, Key=key, Body=buffer.getvalue())


def read_state(s3: Any, bucket: str) -> datetime | None:
    """When the last run started; None before the first."""
    try:
        body = s3.get_object(Bucket=bucket, Key=STATE_KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    return datetime.fromisoformat(json.loads(body)["last_run_timestamp"])


def write_state(s3: Any, job: Job) -> None:
    """Remember when this run started."""
    state = {"last_run_timestamp": job.now.isoformat(), "updated_at": datetime.now().astimezone().isoformat()}
    s3.put_object(Bucket=job.processed, Key=STATE_KEY, Body=json.dumps(state).encode())


if __name__ == "__main__":
    carry_out(collect)
