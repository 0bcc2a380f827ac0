"""Dry runs: everything is looked at, nothing is touched."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from contracts.envelope import Message
from contracts.plans import PlanPreview
from contracts.runs import PlanRun, RunMode, ScanPayload
from contracts.segments import Occurrence
from services.planner.use_case.batch import plan_batch
from services.runtime.deliveries import Delivery
from services.runtime.failures import PermanentError
from tests.property.event_log_world import PIPELINE, RAW, STATE
from tests.property.event_log_world import World as ObjectWorld
from tests.unit.planner.collecting import MIRROR, PLACE, World, collected
from tests.unit.planner.test_collect_trouble import REFUSAL, refusing

NAME = "log-submit-20260101-120000-{}-some-project-ABC-01.json"


def untouched(world: World, state: Mapping[str, object]) -> bool:
    """Whether all but the previews is as it was."""
    return state == snapshot(world)


def snapshot(world: World) -> dict[str, object]:
    """Everything that a run could have changed."""
    objects = {
        (name, key)
        for name, bucket in world.objects.buckets.items()
        for key in bucket.keys
        if bucket.current(key) and not key.endswith("/preview.json")
    }
    return {
        "runs": dict(world.ledger.table.runs),
        "segments": dict(world.ledger.table.segments),
        "watermarks": dict(world.watermarks.records),
        "sent": {queue: list(bodies) for queue, bodies in world.publisher.sent.items()},
        "facts": list(world.publisher.facts),
        "objects": objects,
        "metrics": list(world.telemetry.published),
    }


async def test_a_collecting_run_is_shown() -> None:
    """Its segments with their rows, the requests of their fetchers, its limit, and what it would move."""
    world = World(collected(max_records=29))
    for day in (10, 11, 12):
        world.publish(f"2025-12-{day}T10", range(day * 10, day * 10 + 9))
    world.publish("2025-12-13T10", range(900, 912))
    before = snapshot(world)
    preview = await world.preview()
    assert untouched(world, before)
    assert preview == PlanPreview(
        run_id="r1",
        pipeline="requests",
        mode=RunMode.INITIAL,
        segments=preview.segments,
        rows=27,
        requests=3,
        messages=3,
        start="2025-12-02T00:00:00.000",
        end="2025-12-12T10:00:00.000",
        frontier="2025-12-12T10:00:00.000",
        limit=29,
    )
    assert [(segment.label, segment.rows) for segment in preview.segments] == [
        ("2025-12-02T00:00:00.000 until 2025-12-11T00:00:00.000", 9),
        ("2025-12-11T00:00:00.000 until 2025-12-12T10:00:00.000", 9),
        ("2025-12-12T10:00:00.000", 9),
    ]
    plan = await world.plan(run_id="real")
    assert [s.segment_id for s in plan.segments] == [s.segment_id for s in preview.segments]


async def test_a_full_page_costs_one_request_more() -> None:
    """Only a page that is not full ends a range."""
    world = World(collected(segment_rows=20))
    world.publish("2025-12-10T10", range(20))
    assert (await world.preview()).requests == 3


async def test_looking_does_not_wait_for_a_run_nor_start_over() -> None:
    """While a run is under way and the mirror is gone, a dry run shows the initial load that would come."""
    world = World(collected(max_records=2))
    world.publish("2025-12-10T10", ["a", "b"])
    world.publish("2025-12-11T10", ["c"])
    await world.run(max_records=10)
    await world.run(force_initial_load=True)
    assert (await world.preview()).mode is RunMode.INCREMENTAL
    await world.plan()
    await world.objects.delete("processed", MIRROR)
    before = snapshot(world)
    preview = await world.preview()
    assert (preview.mode, preview.start) == (RunMode.INITIAL, "2025-12-02T00:00:00.000")
    assert untouched(world, before)
    assert world.cursor(PLACE) == "2025-12-10T10:00:00.000"


async def test_a_refusal_is_shown() -> None:
    """With the words of the source; no run fails, because there is none."""
    world = refusing()
    before = snapshot(world)
    preview = await world.preview(force_initial_load=True)
    assert (preview.error, preview.segments, preview.mode) == (REFUSAL, [], RunMode.INITIAL)
    assert untouched(world, before)
    world = refusing(PermanentError("other"))
    assert (await world.preview()).error == "other"


async def test_a_replay_of_raw_objects_is_shown() -> None:
    """Each of them is a segment of its own."""
    world = World()
    occurrence = Occurrence(bucket="raw", key="raw/2026/01/01/requests/r/s.json.gz", etag="e")
    request = world.request().model_copy(
        update={"mode": RunMode.REPLAY, "dry_run": True, "occurrences": [occurrence, occurrence]}
    )
    assert not (await world.deliver(request)).failed
    stored = await world.objects.get("state", "plans/r1/preview.json")
    preview = PlanPreview.model_validate_json(stored.body)
    assert (preview.mode, preview.rows, preview.messages) == (RunMode.REPLAY, 1, 1)
    assert preview.segments[0].label == "s3://raw/raw/2026/01/01/requests/r/s.json.gz"


async def look(world: ObjectWorld, request: PlanRun) -> PlanPreview:
    """A dry run of an object pipeline."""
    message = Message.wrap(request, message_id=UUID(int=1), run_id="operator", occurred_at=world.clock.now())
    outcome = await plan_batch(world.planner, [Delivery("d", message.model_dump_json())])
    assert not outcome.failed, outcome.reasons
    stored = await world.objects.get(STATE, f"plans/{request.run_id}/preview.json")
    return PlanPreview.model_validate_json(stored.body)


@pytest.fixture
async def objects() -> ObjectWorld:
    """Three files of which none is settled."""
    world = ObjectWorld()
    for number in range(3):
        await world.put(NAME.format(number), b"{}")
    return world


async def test_a_scan_is_shown(objects: ObjectWorld) -> None:
    """What it would read and what it would prove; no run is opened, nothing is checked in, nothing is sent."""
    preview = await look(objects, PlanRun(pipeline=PIPELINE.name, run_id="r", dry_run=True))
    assert (preview.mode, preview.rows, preview.requests, preview.messages) == (RunMode.SCAN, 3, 3, 1)
    assert preview.segments[0].label == f"s3://{RAW}/{PIPELINE.source.prefix}{NAME.format(0)} and 2 more"
    assert preview.frontier == objects.clock.now().isoformat()
    assert objects.ledger.table.runs == {}
    assert not any(objects.publisher.sent.values())
    assert [info.key for bucket, info in objects.objects.puts if bucket == STATE] == ["plans/r/preview.json"]


async def test_a_partial_scan_would_move_no_watermark(objects: ObjectWorld) -> None:
    """And a scan of a bucket that is not there is shown as what it is."""
    partial = ScanPayload(prefix=PIPELINE.source.prefix + "log-")
    preview = await look(objects, PlanRun(pipeline=PIPELINE.name, run_id="r", payload=partial, dry_run=True))
    assert (preview.rows, preview.frontier) == (3, None)
    absent = ScanPayload(source_bucket="nowhere")
    preview = await look(objects, PlanRun(pipeline=PIPELINE.name, run_id="s", payload=absent, dry_run=True))
    assert (preview.error, preview.segments) == ("bucket nowhere does not exist", [])
    assert objects.ledger.table.runs == {}
