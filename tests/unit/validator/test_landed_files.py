"""Landing files of typed rows: what proves one, and what is wrong with those that are refused."""

import io
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import ipc

from contracts.fields import EntityField
from contracts.loads import DayRows
from contracts.runs import LoadType, RunState
from contracts.segments import SegmentCounts
from services.runtime.landing import TAIL_BYTES
from services.runtime.ledger import Step
from services.validator.core.landed.keys import KeyCheck
from services.validator.use_case.landing_files import READ_BYTES
from tests.property.event_log_world import notification
from tests.unit.validator.landed_rows import (
    DAY,
    FIELDS,
    NOISE,
    NOISE_FIELDS,
    RUN,
    SCHEMA,
    WINDOW,
    landing_file,
    noise,
    order,
    stream,
)
from tests.unit.validator.landed_world import World, command, key_of

FIRST = [order(1, 1, at="2025-02-01T00:00:00"), order(2, 1), order(3, 2)]
SECOND = [order(4, 2, at="2025-02-28T23:59:59.999999"), order(5, 9), order(6, None)]


async def test_rows_stay_where_they_are_and_a_segment_points_to_them() -> None:
    """Its object is pinned by version, its chunks are as the fetcher wrote them, and its cursors are the rows' own."""
    world = World()
    await world.plan()
    info = await world.put(landing_file(FIRST, SECOND))
    assert not (await world.validate(notification("raw", info))).failed
    assert list(world.contents("validated")) == [f"shop.orders/{RUN}/s1.json"]
    segment = world.segment()
    assert (segment.bucket, segment.key, segment.version_id) == ("raw", key_of(), info.version_id)
    assert (segment.run_date, segment.load_type, segment.fields) == (DAY, LoadType.INCREMENTAL, FIELDS)
    assert segment.counts == SegmentCounts(received=6, rows=6)
    assert [[(day.date, day.rows) for day in chunk.days] for chunk in segment.chunks] == [
        [("2025-02-01", 2), ("2025-02-02", 1)],
        [("2025-02-02", 1), ("2025-02-09", 1), (None, 1)],
    ]
    assert (segment.least_cursor, segment.greatest_cursor) == (
        "2025-02-01T00:00:00.000000",
        "2025-02-28T23:59:59.999999",
    )
    assert world.rows(segment) == [tuple(row) for row in FIRST + SECOND]
    entry = await world.ledger.segment(RUN, "s1")
    assert entry is not None
    assert (entry.step, entry.fetched, entry.counts) == (Step.VALIDATED, 6, segment.counts)
    assert entry.location == f"validated/shop.orders/{RUN}/s1.json"
    assert entry.raw_location == f"raw/{key_of()}"


async def test_a_slice_without_rows_is_a_segment_without_rows() -> None:
    """Its run waits for it like for any other."""
    world = World()
    await world.plan()
    await world.put(landing_file())
    assert not (await world.validate(command())).failed
    segment = world.segment()
    assert (segment.counts, segment.chunks, segment.greatest_cursor) == (SegmentCounts(), [], None)


async def test_rows_without_a_cursor_are_rows_of_the_slice_that_asked_for_them() -> None:
    """They are in full loads, and move no watermark."""
    world = World()
    await world.plan()
    undated = WINDOW.model_copy(update={"undated": True})
    await world.put(landing_file([order(1, at=None)], [order(2), order(3, at=None)], slice=undated))
    assert not (await world.validate(command())).failed
    assert world.segment().least_cursor == world.segment().greatest_cursor == "2025-02-10T08:00:00.000000"


async def test_a_load_of_keys_has_neither_cursors_nor_event_dates() -> None:
    """Its rows are keys only, and the key is proven as always."""
    world = World()
    await world.plan()
    schema = pa.schema([SCHEMA.field("order_id"), SCHEMA.field("line")])
    body = landing_file([[1, 1], [1, 2]], schema=schema, fields=FIELDS[:2], load_type=LoadType.KEYS)
    await world.put(body)
    assert not (await world.validate(command())).failed
    segment = world.segment()
    assert (segment.load_type, segment.least_cursor) == (LoadType.KEYS, None)
    assert segment.chunks[0].days == [DayRows(date=None, rows=2)]


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (
            [[order(1), order(2), order(1)]],
            "1 keys (order_id, line) are there more than once, first order_id=1, line=1",
        ),
        ([[order(3), order(4)], [order(4), order(3), order(3)]], "2 keys (order_id, line) are there more than once"),
        ([[order(1, line=2), order(1, line=1)], [order(1, line=2)]], "first order_id=1, line=2"),
        ([[[None, 1, *order(1)[2:]]]], "1 rows have no order_id"),
        ([[[None, 1, *order(1)[2:]], [1, None, *order(1)[2:]], [None, None, *order(1)[2:]]]], "2 rows have no line"),
    ],
)
async def test_keys_that_do_not_tell_rows_apart_fail_the_run(chunks: list[list[list[Any]]], reason: str) -> None:
    """It is the source's fault: the run says which columns and how many, and the watermark stays."""
    world = World()
    await world.plan()
    await world.put(landing_file(*chunks))
    assert not (await world.validate(command())).failed
    told = await world.failed()
    assert reason in told
    assert told.endswith("(segment s1)")
    assert [message.kind for message in world.publisher.announced()] == ["RunFailed"]
    entry = await world.ledger.segment(RUN, "s1")
    assert entry is not None
    assert entry.step is Step.FETCHED


async def test_rows_that_lack_keys_do_not_count_as_equal_keys() -> None:
    """What has no key is told as that, and as nothing else."""
    world = World()
    await world.plan()
    await world.put(landing_file([[None, 1, *order(1)[2:]], [None, 1, *order(2)[2:]]]))
    await world.validate(command())
    assert await world.failed() == "2 rows have no order_id (segment s1)"


def test_columns_of_a_key_may_have_any_name() -> None:
    """Nothing that is computed of them is in their way."""
    check = KeyCheck(["len", "_", "count"])
    check.take(pl.DataFrame({"len": [1, 1], "_": [2, 2], "count": [3, 3]}))
    assert check.faults() == ["1 keys (len, _, count) are there more than once, first len=1, _=2, count=3"]


async def test_a_large_file_is_read_some_chunks_at_a_time() -> None:
    """What its tail does not hold is read in ranges, all of the version that was read first."""
    world = World()
    await world.plan()
    chunks = [[[*order(number), noise(number)]] for number in range(12)]
    body = landing_file(*chunks, schema=NOISE, fields=NOISE_FIELDS)
    assert len(body) > READ_BYTES + TAIL_BYTES
    info = await world.put(body)
    assert not (await world.validate(command())).failed
    assert world.segment().version_id == info.version_id
    assert world.rows(world.segment()) == [tuple(row) for chunk in chunks for row in chunk]


async def test_a_trailer_longer_than_the_tail_is_read_whole() -> None:
    """Tables of many columns and days have long ones."""
    world = World()
    await world.plan()
    names = [f"{'x' * 60}{number}" for number in range(3_000)]
    fields = [*FIELDS, *(EntityField(name=name, type="boolean") for name in names)]
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.bool_()) for name in names)])
    await world.put(landing_file([order(1) + [None] * 3_000], schema=schema, fields=fields))
    assert not (await world.validate(command())).failed
    assert len(world.segment().fields) == 3_005


async def test_a_run_that_the_ledger_lost_is_opened_again() -> None:
    """As what the trailer says it is; its rows are not lost with it."""
    world = World()
    await world.put(landing_file(FIRST, load_type=LoadType.FULL))
    assert not (await world.validate(command())).failed
    run = await world.ledger.run(RUN)
    assert run is not None
    assert (run.mode, run.state, run.planned) == ("full", RunState.RUNNING, None)
    assert world.segment().load_type is LoadType.FULL


def test_the_fixture_writes_what_arrow_reads() -> None:
    """A stream of the fixture is one that any Arrow library takes."""
    assert ipc.open_stream(io.BytesIO(stream(FIRST))).read_all().num_rows == 3
