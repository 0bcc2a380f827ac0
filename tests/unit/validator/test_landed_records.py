"""Records of an API: which of them are rows, what they become, and what becomes of the others."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from contracts.loads import DayRows
from contracts.runs import LoadType, RunMode
from contracts.segments import Occurrence, SegmentCounts
from services.runtime.ledger import Step
from services.validator.core.landed.packing import CHUNK_ROWS
from tests.property.event_log_world import notification
from tests.unit.validator.landed_rows import DAY, RUN, payment
from tests.unit.validator.landed_world import PAYMENTS, World, command, key_of

SEGMENT = f"shop.payments/{RUN}/s1"


async def test_records_become_a_landing_file_of_their_own() -> None:
    """Sorted by the UTC day of their event date, undated ones last, and otherwise in the order of their lines."""
    world = World()
    await world.plan(PAYMENTS)
    lines = [
        payment("p1", amount="12.50", tags=["a", None], paid_at="2025-02-02T00:30:00+01:00"),
        payment("p2", updated_at="2025-02-12T00:00:00.000001"),
        payment("p3", paid_at="2025-01-31T23:59:59Z"),
        payment("p4", paid_at="2025-02-01T00:00:00Z", amount=None),
        payment("p3", paid_at="2025-01-31T23:59:59Z"),
    ]
    info = await world.put_records(lines)
    assert not (await world.validate(notification("raw", info))).failed
    segment = world.segment(SEGMENT)
    assert (segment.bucket, segment.key) == ("validated", f"{SEGMENT}.land")
    assert (segment.run_date, segment.load_type) == (DAY, LoadType.INCREMENTAL)
    assert {field.name: field.type for field in segment.fields} == {
        "payment_id": "string",
        "amount": "decimal(6,2)",
        "tags": "list<string>",
        "paid_at": "timestamp_us_utc",
        "updated_at": "timestamp_us_utc",
    }
    assert segment.counts == SegmentCounts(received=5, rows=5)
    assert [each.days for each in segment.chunks] == [
        [DayRows(date="2025-01-31", rows=2), DayRows(date="2025-02-01", rows=2), DayRows(date=None, rows=1)]
    ]
    rows = world.rows(segment)
    assert [row[0] for row in rows] == ["p3", "p3", "p1", "p4", "p2"]
    assert rows[2][1:4] == (Decimal("12.50"), ["a", None], datetime(2025, 2, 1, 23, 30, tzinfo=UTC))
    assert rows[3][1] is None
    assert (segment.least_cursor, segment.greatest_cursor) == (
        "2025-02-10T08:00:00.000000",
        "2025-02-12T00:00:00.000001",
    )
    entry = await world.ledger.segment(RUN, "s1")
    assert entry is not None
    assert (entry.step, entry.fetched, entry.location) == (Step.VALIDATED, 5, f"validated/{SEGMENT}.json")


async def test_what_is_landed_of_records_would_pass_for_a_fetchers_file() -> None:
    """Its trailer is in its place, so that a reader needs nothing else to make sense of it."""
    world = World()
    await world.plan(PAYMENTS)
    await world.put_records([payment()])
    await world.validate(command(pipeline=PAYMENTS))
    segment = world.segment(SEGMENT)
    body = world.contents("validated")[segment.key]
    tail = json.loads(body[segment.chunks[-1].offset + segment.chunks[-1].length : -16])
    assert (tail["segment_id"], tail["rows"]) == ("s1", 1)
    stored = world.objects.buckets["validated"].current(segment.key)
    assert stored is not None
    assert stored.info.metadata["tidegate-rows"] == "1"


async def test_chunks_end_with_a_day_once_they_have_enough_rows() -> None:
    """So that the rows of some days are read without most of the others."""
    world = World()
    await world.plan(PAYMENTS)
    sizes = {1: CHUNK_ROWS - 1, 2: 2, 3: CHUNK_ROWS, 4: 1}
    lines = [
        payment(f"{day}/{n}", paid_at=f"2025-02-{day:02d}T10:00:00Z")
        for n in range(CHUNK_ROWS)
        for day in sizes
        if n < sizes[day]
    ]
    await world.put_records(lines)
    assert not (await world.validate(command(pipeline=PAYMENTS))).failed
    segment = world.segment(SEGMENT)
    assert [[(day.date, day.rows) for day in each.days] for each in segment.chunks] == [
        [("2025-02-01", CHUNK_ROWS - 1), ("2025-02-02", 2)],
        [("2025-02-03", CHUNK_ROWS)],
        [("2025-02-04", 1)],
    ]
    assert [row[0] for row in world.rows(segment)] == sorted(
        (json.loads(line)["payment_id"] for line in lines), key=lambda key: tuple(map(int, key.split("/")))
    )


async def test_no_records_are_a_segment_without_rows() -> None:
    """Its run waits for it like for any other."""
    world = World()
    await world.plan(PAYMENTS)
    await world.put_records([])
    assert not (await world.validate(command(pipeline=PAYMENTS))).failed
    segment = world.segment(SEGMENT)
    assert (segment.counts, segment.chunks, segment.least_cursor) == (SegmentCounts(), [], None)


@pytest.mark.parametrize(
    ("mode", "load_type"),
    [
        (RunMode.FULL, LoadType.FULL),
        (RunMode.INITIAL, LoadType.FULL),
        (RunMode.INCREMENTAL, LoadType.INCREMENTAL),
        (None, LoadType.INCREMENTAL),
    ],
)
async def test_a_load_of_records_is_of_the_type_that_its_run_is(mode: RunMode | None, load_type: LoadType) -> None:
    """A run that the ledger lost passes for an increment: readers then take nothing for replaced."""
    world = World()
    if mode is not None:
        await world.plan(PAYMENTS, mode)
    await world.put_records([payment()])
    assert not (await world.validate(command(pipeline=PAYMENTS))).failed
    assert world.segment(SEGMENT).load_type is load_type


async def test_a_load_of_keys_lands_the_keys_of_records_only() -> None:
    """The other members are no news, although they become no columns."""
    world = World()
    await world.plan(PAYMENTS, RunMode.KEYS)
    await world.put_records([payment("p2"), b'{"payment_id":"p1"}'])
    assert not (await world.validate(command(pipeline=PAYMENTS))).failed
    segment = world.segment(SEGMENT)
    assert [field.name for field in segment.fields] == ["payment_id"]
    assert world.rows(segment) == [("p2",), ("p1",)]
    assert (segment.load_type, segment.least_cursor) == (LoadType.KEYS, None)
    assert segment.chunks[0].days == [DayRows(date=None, rows=2)]
    assert not world.publisher.announced()


async def test_bad_records_are_quarantined_and_fail_the_run() -> None:
    """With where they came from; none of the good ones is passed on, so that the next run reads all of them again."""
    world = World()
    await world.plan(PAYMENTS)
    bad = [payment("p2", amount="12.345"), b"no json", payment(None), payment("p3", updated_at=None)]
    await world.put_records([payment("p1"), *bad, payment("p4", amount="dear", tags="x")])
    assert not (await world.validate(command(pipeline=PAYMENTS))).failed
    assert await world.failed() == (
        "5 of 6 records cannot be landed; first: line 2: amount: must have at most 2 digits after the point;"
        " tidegate quarantine list shop.payments shows them"
    )
    entries = world.quarantined()
    assert [(entry["line"], entry["reason"]) for entry in entries] == [
        (2, "invalid-value"),
        (3, "malformed-json"),
        (4, "missing-required"),
        (5, "missing-required"),
        (6, "invalid-value"),
    ]
    assert [error["loc"] for error in entries[4]["errors"]] == [["amount"], ["tags"]]
    assert entries[0]["raw"] == bad[0].decode()
    assert entries[0]["errors"] == [
        {
            "type": "decimal(6,2)",
            "loc": ["amount"],
            "msg": "must have at most 2 digits after the point",
            "input": "12.345",
        }
    ]
    occurrence = Occurrence.model_validate(entries[0]["occurrence"])
    assert (occurrence.bucket, occurrence.key) == ("raw", key_of(PAYMENTS))
    entry = await world.ledger.segment(RUN, "s1")
    assert entry is not None
    assert (entry.step, entry.fetched) == (Step.FETCHED, 6)
    points = {point.name: point.value for point in world.telemetry.published}
    assert (points["EventsFailed"], points["RowsQuarantined"], points["RowsOut"]) == (5, 5, 0)


async def test_a_line_that_is_no_json_is_named_with_its_reason() -> None:
    """There is no member to name."""
    world = World()
    await world.plan(PAYMENTS)
    await world.put_records([b"[1]"])
    await world.validate(command(pipeline=PAYMENTS))
    assert "first: line 1: malformed-json: must be a JSON object;" in await world.failed()


async def test_members_that_are_not_declared_are_told_once() -> None:
    """They stay in the raw object; the run that met them first says so, and no later one."""
    world = World()
    with capture_logs() as lines:
        for run in ("run-1.payments", "run-2.payments"):
            await world.plan(PAYMENTS, run_id=run)
            await world.put_records([payment(new=1), payment("p2", newer={"a": 1})], run_id=run)
            assert not (await world.validate(command(pipeline=PAYMENTS, run_id=run))).failed
    told = [message for message in world.publisher.announced() if message.kind == "SchemaDrifted"]
    assert [(each.run_id, each.body["columns"]) for each in told] == [("run-1.payments", ["new", "newer"])]
    assert [line["columns"] for line in lines if "not declared" in line["event"]] == [["new", "newer"]]
    assert len(world.rows(world.segment("shop.payments/run-2.payments/s1"))) == 2


@pytest.mark.parametrize(
    ("body", "rows", "reason"),
    [
        (gzip.compress(payment() + b"\n", mtime=0)[:-5], "1", "it is not whole gzip data"),
        (b"plain", "1", "it is not whole gzip data"),
        (gzip.compress(payment() + b"\n", mtime=0), "2", "has 1 rows, and its tidegate-rows is '2'"),
        (gzip.compress(payment() + b"\n", mtime=0), "", "has 1 rows, and its tidegate-rows is ''"),
    ],
)
async def test_an_object_of_records_that_is_not_whole_goes_back(body: bytes, rows: str, reason: str) -> None:
    """Nothing is written, and the dead-letter queue gets the message in the end."""
    world = World()
    await world.plan(PAYMENTS)
    await world.put(body, rows=rows, key=key_of(PAYMENTS))
    outcome = await world.validate(command(pipeline=PAYMENTS))
    assert list(outcome.failed) == ["0"]
    assert outcome.reasons["0"].startswith(f"s3://raw/{key_of(PAYMENTS)}")
    assert reason in outcome.reasons["0"]
    assert not world.contents("validated")
    assert not world.contents("quarantine")
