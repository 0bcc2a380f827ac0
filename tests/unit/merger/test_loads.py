"""What the merger does with the messages of loads, besides publishing them."""

import io
import json
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from contracts.checkpoints import RestoreCheckpoint
from contracts.loads import WriteParts
from contracts.runs import LoadType, RunState
from contracts.segments import Destination, MergeSegment
from services.merger.adapters.spans import Reading
from services.runtime.ledger import Step
from tests.property.publish_world import Load, Order, PublishWorld, entity

ROWS = [[Order(n, at=n, day=n % 4) for n in range(8)], [Order(n, at=n, day=n % 4) for n in range(8, 12)]]


async def opened(world: PublishWorld, load_type: LoadType = LoadType.FULL) -> Load:
    """A load of two segments."""
    return await world.open("r1", load_type, ROWS)


def notification(bucket: str, key: str) -> str:
    """What S3 says when an object was created."""
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": "e"}}}
    return json.dumps({"Records": [record]})


async def test_events_of_segments_publish_and_events_of_rows_are_nothing() -> None:
    """S3's events for ``.json`` objects announce segments; those for ``.land`` objects beside them ask for nothing."""
    world = PublishWorld()
    load = await opened(world)
    events = [notification("validated", key) for key in load.keys]
    events += [notification("validated", key.replace(".json", ".land")) for key in load.keys]
    assert not (await world.deliver(events)).failed
    world.assert_exact()
    await world.assert_balanced(load)


async def test_the_last_segment_publishes() -> None:
    """Segments that come one by one are entered; nothing is written before all of them are there."""
    world = PublishWorld()
    load = await opened(world)
    first, last = world.arrivals(load)
    assert not (await world.deliver([first])).failed
    entries = {entry.segment_id: entry.step for entry in await world.ledger.segments("r1")}
    assert entries == {"s0": Step.VALIDATED, "s1": Step.FETCHED}
    assert world.parts() == {}
    assert not (await world.deliver([last])).failed
    world.assert_exact()


async def test_a_plan_that_is_not_complete_is_waited_for() -> None:
    """A segment that is there before its plan was dispatched comes back after a second."""
    world = PublishWorld()
    load = await opened(world)
    run = world.ledger.table.runs["r1"]
    world.ledger.table.runs["r1"] = replace(run, planned=None, state=RunState.PLANNING)
    outcome = await world.deliver(world.arrivals(load))
    assert set(outcome.failed.values()) == {1.0}
    assert "the plan is not complete yet" in str(outcome.reasons)
    world.ledger.table.runs["r1"] = run
    await world.deliver_for_good(world.arrivals(load))
    world.assert_exact()


async def test_a_run_that_is_over_is_not_published() -> None:
    """Segments of a run that failed meanwhile are acknowledged, and bronze stays as it is."""
    world = PublishWorld()
    load = await opened(world)
    await world.ledger.finish_run("r1", RunState.FAILED, reason="a bad record")
    assert not (await world.deliver(world.arrivals(load))).failed
    assert (world.parts(), world.published()) == ({}, [])


async def test_a_full_load_that_was_overtaken_is_not_published() -> None:
    """Readers take the newest full load and what came after it: it must not lack what was brought before it."""
    world = PublishWorld()
    load = await opened(world)
    covered = world.ledger.table.runs["r1"].collection
    assert covered is not None
    name = world.pipeline.watermark
    await world.watermarks.advance(name, covered.end, expected_version=0, run_id="as far")
    further = covered.end.replace("2027", "2028")
    await world.watermarks.advance(name, further, expected_version=1, run_id="further")
    assert not (await world.deliver(world.arrivals(load))).failed
    run = world.ledger.table.runs["r1"]
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert f"run further brought changes up to {further} while" in run.reason
    assert (world.parts(), world.published()) == ({}, [])


async def test_a_replaced_landing_file_stops_the_load_and_says_so() -> None:
    """Rows are read as the validator saw them or not at all; the run tells what is wrong and waits."""
    world = PublishWorld()
    load = await opened(world)
    del world.objects.buckets["raw"].keys["raw/shop.orders/r1/s0.land"]
    await world.objects.put("raw", "raw/shop.orders/r1/s0.land", b"something else")
    outcome = await world.deliver(world.arrivals(load))
    assert set(outcome.failed.values()) == {20.0}
    run = await world.ledger.run("r1")
    assert run is not None
    assert run.state is RunState.RUNNING
    assert "raw/shop.orders/r1/s0.land" in str(run.reason)
    assert world.parts() == {}


async def test_a_chunk_that_is_not_what_it_says_stops_the_load() -> None:
    """A landing file whose bytes are damaged though its ETag is right is never taken for rows."""
    world = PublishWorld()
    load = await opened(world)
    [held] = world.objects.buckets["raw"].keys["raw/shop.orders/r1/s0.land"]
    assert held is not None
    damaged = replace(held, body=b"\0" * 64 + held.body[64:])
    world.objects.buckets["raw"].keys["raw/shop.orders/r1/s0.land"] = [damaged]
    outcome = await world.deliver(world.arrivals(load))
    assert "the chunk at 0 cannot be read" in str(outcome.reasons)
    assert world.parts() == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (MergeSegment(bucket="validated", key="gone.json"), "gone.json"),
        (MergeSegment(bucket="validated", key="bad.json"), "is not a LandedSegment: pipeline: Field required"),
        (WriteParts(pipeline="shop.orders", version=7, group=0), "there is no group 0 of load 7"),
        (WriteParts(pipeline="shop.carts", version=1, group=0), "there is no entity 'shop.carts' here"),
    ],
)
async def test_what_cannot_be_done_comes_back_alone(body: MergeSegment | WriteParts, reason: str) -> None:
    """A message about nothing fails with one clear line; the load beside it is published."""
    world = PublishWorld()
    await world.objects.put("validated", "bad.json", b"{}")
    load = await opened(world)
    outcome = await world.deliver([world.body(body), *world.arrivals(load)])
    assert list(outcome.failed) == ["0"]
    assert reason in outcome.reasons["0"]
    world.assert_exact()


async def test_a_load_cannot_be_restored() -> None:
    """What an operator does to checkpoints makes no sense of loads, and the answer says what does."""
    world = PublishWorld()
    load = await opened(world)
    await world.deliver_for_good(world.arrivals(load))
    destination = Destination(bucket="processed", key="data/bronze/orders")
    command = RestoreCheckpoint(
        pipeline="shop.orders", scope="shop.orders", request_id="q", destination=destination, version=0
    )
    outcome = await world.deliver([world.body(command)])
    assert "a full load starts the entity anew" in outcome.reasons["0"]
    world.assert_exact()


async def test_groups_that_come_again_are_left_alone() -> None:
    """A group of a load that is settled is not written again."""
    world = PublishWorld(entity(part_bytes=200))
    load = await opened(world)
    await world.deliver(world.arrivals(load))
    groups = world.pending()
    assert len(groups) > 1
    await world.deliver_for_good(groups)
    written = [info.key for bucket, info in world.objects.puts if bucket == "state" or info.key.endswith(".parquet")]
    assert not (await world.deliver(groups)).failed
    after = [info.key for bucket, info in world.objects.puts if bucket == "state" or info.key.endswith(".parquet")]
    assert after == written
    await world.assert_balanced(load)


async def test_a_group_that_another_merger_writes_comes_back_later() -> None:
    """While a group's lease is held its message is put back, not dropped: its holder may be dead."""
    world = PublishWorld(entity(part_bytes=200))
    load = await opened(world)
    await world.deliver(world.arrivals(load))
    groups = world.pending()
    await world.ports().leases.acquire("load:shop.orders/1/0", "somebody", 60.0)
    outcome = await world.deliver(groups)
    assert list(outcome.failed.values()) == [5.0]
    assert (await world.ledger.run("r1")) is not None
    await world.deliver_for_good([groups[int(n)] for n in outcome.failed])
    await world.assert_balanced(load)


async def test_a_record_that_comes_twice_in_a_load_is_there_once() -> None:
    """Pages of an API may shift: equal records of one load are one, also where a day has several parts."""
    world = PublishWorld(entity(part_bytes=600, kind="rest"))
    rows = [Order(n % 40, at=n % 40) for n in range(120)]
    load = await world.open("r1", LoadType.FULL, [rows[:70], rows[70:]])
    await world.deliver_for_good(world.arrivals(load))
    assert len(world.parts()) > 2
    assert world.rows(load) == Counter(set(rows))
    await world.assert_balanced(load)


async def test_a_large_day_is_written_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day that is read piece by piece is one part, without the records that came before."""
    monkeypatch.setattr("services.merger.core.loads.WINDOW_BYTES", 3_000)
    world = PublishWorld(entity(kind="rest"))
    rows = [Order(n, at=n) for n in range(40)]
    load = await world.open("r1", LoadType.FULL, [rows[:20], rows[20:] + rows[:3]])
    await world.deliver_for_good(world.arrivals(load))
    assert len(world.parts()) == 1
    assert world.rows(load) == Counter(rows)
    again = await world.open("r2", LoadType.INCREMENTAL, [[*rows[5:], Order(1, at=41)]])
    await world.deliver_for_good(world.arrivals(again))
    assert world.rows(again) == Counter([Order(1, at=41)])


async def test_a_part_of_the_generation_is_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large part only the footer, the keys, the cursors and the hashes are fetched."""
    monkeypatch.setattr("services.merger.adapters.known.READING", Reading(whole=0, footer=16))
    world = PublishWorld()
    first = await opened(world)
    await world.deliver_for_good(world.arrivals(first))
    second = await world.open("r2", LoadType.INCREMENTAL, [*ROWS, [Order(1, at=50)]])
    await world.deliver_for_good(world.arrivals(second))
    assert world.rows(second) == Counter([Order(1, at=50)])


async def test_what_a_part_looks_like() -> None:
    """Parts are Snappy, typed by Parquet alone, stamped with run and version, and say where their rows come from."""
    world = PublishWorld()
    load = await opened(world)
    await world.deliver_for_good(world.arrivals(load))
    key, versions = next(
        item for item in sorted(world.objects.buckets["processed"].keys.items()) if item[0].endswith(".parquet")
    )
    held = versions[-1]
    assert held is not None
    assert held.info.metadata == {"tidegate-run": "r1", "tidegate-version": "1"}
    file = pq.ParquetFile(io.BytesIO(held.body))
    group = file.metadata.row_group(0)
    assert {group.column(n).compression for n in range(group.num_columns)} == {"SNAPPY"}
    assert file.metadata.metadata is None
    table = file.read()
    assert table.column_names[-4:] == ["_ingestion_ts", "_source_system", "_record_hash", "_ingestion_id"]
    row = table.to_pylist()[0]
    assert (row["_source_system"], len(row["_record_hash"])) == ("rds", 32)
    assert row["_ingestion_ts"] == world.clock.now()
    assert key.endswith("event_date=2026-01-01/part-00000.parquet")
