"""What an ended run answers, field for field as callers of an event-log checkpoint function know it."""

from dataclasses import replace

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.runtime.checkpoints import Head
from services.runtime.conservation import conserve
from services.runtime.ledger import Collection, Run, ScanCounts, SegmentEntry, Step
from services.runtime.responses import respond, respond_collected

RUN = Run(
    run_id="r-1",
    pipeline="visit_events",
    mode=RunMode.SCAN,
    state=RunState.SUCCEEDED,
    started_at="2026-01-01T00:00:00+00:00",
    finished_at="2026-01-01T00:00:01.234567+00:00",
    planned=1,
    scan=ScanCounts(listed=5, dispatched=5),
    destination="s3://out/checkpoints/events.parquet",
)
SEGMENT = SegmentEntry(
    "r-1",
    "s",
    Step.MERGED,
    planned=5,
    counts=SegmentCounts(received=5, rows=3, quarantined=2),
    settlement=Settlement(merged=3, quarantined=2),
)
HEAD = Head("out/checkpoints/events.parquet", version=4, total_rows=103, max_cursor="2026-01-01T12:00:00+00:00")
TABLE = conserve(RUN, [SEGMENT])


def test_a_success_has_the_known_fields() -> None:
    """Names, types and units are those of the function that this replaces; run_id is ours."""
    assert respond(RUN, TABLE, HEAD).model_dump(mode="json", by_alias=True) == {
        "statusCode": 200,
        "checkpoint_path": "s3://out/checkpoints/events.parquet",
        "new_events_processed": 3,
        "total_events": 103,
        "events_failed": 2,
        "last_processed_timestamp": "2026-01-01T12:00:00+00:00",
        "execution_time_ms": 1235,
        "run_id": "r-1",
    }


def test_an_empty_run_is_a_success() -> None:
    """Without a checkpoint there is no last timestamp, and nothing was processed."""
    run = replace(RUN, planned=0, scan=ScanCounts(), destination=None)
    answer = respond(run, conserve(run, []), Head("out/checkpoints/events.parquet")).model_dump(by_alias=True)
    assert (answer["statusCode"], answer["new_events_processed"], answer["total_events"]) == (200, 0, 0)
    assert answer["last_processed_timestamp"] is None
    assert answer["checkpoint_path"] == "s3://out/checkpoints/events.parquet"


def test_a_failure_has_the_known_error_format() -> None:
    """With the reason, and the files that failed."""
    run = replace(RUN, state=RunState.FAILED, reason="access denied")
    files = ["s3://raw/events/a.json", "s3://raw/events/b.json"]
    assert respond(run, TABLE, HEAD, files).model_dump(mode="json", by_alias=True) == {
        "statusCode": 500,
        "error": "RunFailed",
        "message": "access denied",
        "details": {"failed_files": files, "error_count": 2},
    }


def test_a_failure_without_names_still_counts() -> None:
    """What the ledger counted is the number of errors, whether or not the files are known."""
    answer = respond(replace(RUN, state=RunState.FAILED), TABLE, HEAD).model_dump(by_alias=True)
    assert answer["details"] == {"failed_files": [], "error_count": 2}
    assert answer["message"] == "run r-1 is failed"


COLLECTED = replace(
    RUN,
    pipeline="nyc_311",
    mode=RunMode.BACKFILL,
    scan=ScanCounts(),
    collection=Collection(start="2025-01-01T00:00:00.000", end="2025-02-21T02:00:00.000"),
)


def test_a_collecting_run_answers_as_a_collector_does() -> None:
    """Rows that are new, the mode, and what it covers; run_id is ours."""
    table = conserve(COLLECTED, [replace(SEGMENT, planned=0, fetched=5)])
    assert respond_collected(COLLECTED, table).model_dump(mode="json", by_alias=True) == {
        "statusCode": 200,
        "body": {
            "message": "Data ingestion successful",
            "records": 3,
            "mode": "backfill",
            "date_range": "2025-01-01T00:00:00.000 to 2025-02-21T02:00:00.000",
            "run_id": "r-1",
        },
    }


def test_nothing_new_is_said_in_other_words() -> None:
    """It is a success all the same, whether rows were read again or none at all."""
    again = replace(SEGMENT, planned=0, fetched=5, settlement=Settlement(row_duplicates=3, quarantined=2))
    for segments in ([again], []):
        answer = respond_collected(COLLECTED, conserve(COLLECTED, segments)).model_dump(by_alias=True)
        assert (answer["statusCode"], answer["body"]["records"]) == (200, 0)
        assert answer["body"]["message"] == "No new data available"


def test_a_replay_covers_nothing_of_the_source() -> None:
    """So its range is empty."""
    run = replace(COLLECTED, mode=RunMode.REPLAY, collection=None)
    answer = respond_collected(run, conserve(run, [replace(SEGMENT, fetched=5)])).model_dump(by_alias=True)
    assert (answer["body"]["date_range"], answer["body"]["mode"]) == ("", "replay")


def test_a_collecting_run_that_failed_answers_in_the_error_format() -> None:
    """With the message of the source."""
    run = replace(COLLECTED, state=RunState.FAILED, planned=None, collection=None, reason="400: No such column: creatd")
    assert respond_collected(run, conserve(run, [])).model_dump(mode="json", by_alias=True) == {
        "statusCode": 500,
        "error": "RunFailed",
        "message": "400: No such column: creatd",
        "details": {"failed_files": [], "error_count": 0},
    }
