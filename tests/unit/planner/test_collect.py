"""Collecting runs from request to watermark, over the fakes: modes, limits, places and mirrors."""

from datetime import datetime

from structlog.testing import capture_logs

from contracts.fetching import KeyRange
from contracts.runs import CollectPayload, RunMode, RunState, ScheduledScan
from services.runtime.ledger import Collection, Step
from tests.unit.planner.collecting import FETCH, MIRROR, PLACE, World, collected

DAY_S = 86_400


async def test_a_first_run() -> None:
    """It is initial, its ranges are with the fetchers, and the ledger knows what it covers and will move."""
    world = World()
    world.publish("2025-12-20T10", range(8))
    world.publish("2025-12-21T10", range(10, 18))
    world.publish("2025-11-20T10", range(20, 28))
    plan = await world.plan()
    assert (plan.mode, plan.start, plan.end) == (
        RunMode.INITIAL,
        "2025-12-02T00:00:00.000",
        "2025-12-21T10:00:00.000",
    )
    run = world.ended("r1")
    assert (run.state, run.mode, run.planned, run.destination) == (
        RunState.RUNNING,
        RunMode.INITIAL,
        2,
        "s3://processed/processed/month=",
    )
    assert run.collection == Collection(
        start=plan.start,
        end=plan.end,
        complete_until="2025-12-19T10:00:00.000",
        expected_rows=16,
        mirror=f"processed/{MIRROR}",
    )
    assert (run.frontier, run.watermark_version) == (plan.end, 0)
    assert [(c.range.start, c.expected_rows, c.run_date) for c in world.commands()] == [
        (plan.start, 8, "2026-01-01"),
        ("2025-12-21T00:00:00.000", 8, "2026-01-01"),
    ]
    entries = await world.ledger.segments("r1")
    assert {(e.segment_id, e.step, e.planned) for e in entries} == {
        (s.segment_id, Step.PLANNED, 0) for s in plan.segments
    }
    await world.work()
    assert world.ended("r1").state is RunState.SUCCEEDED
    standing = world.watermark()
    assert standing is not None
    assert (standing.cursor, standing.complete_until) == (plan.end, "2025-12-19T10:00:00.000")
    assert world.mirror() == {"last_run_timestamp": plan.end, "updated_at": world.clock.now().isoformat()}
    assert [fact["records"] for fact in world.facts("RunCompleted")] == [16]


async def test_an_incremental_run_finds_late_rows() -> None:
    """It reads the lag again, so that a row that was published late is found, and nothing is new twice."""
    world = World()
    world.publish("2025-12-30T10", range(3))
    await world.run()
    world.clock.advance(DAY_S)
    world.publish("2025-12-28T23", ["late"])
    world.publish("2025-12-31T10", ["new"])
    plan = await world.run()
    assert (plan.mode, plan.start, plan.expected_rows) == (RunMode.INCREMENTAL, "2025-12-28T10:00:00.000", 5)
    assert world.merged == {"0", "1", "2", "late", "new"}
    assert [fact["records"] for fact in world.facts("RunCompleted")] == [3, 2]


async def test_a_limited_run_is_announced_and_gone_on_with() -> None:
    """A warning, a metric, a fact; the next run starts exactly at its end and reads nothing else again."""
    world = World(collected(max_records=4))
    for day in range(10, 20):
        world.publish(f"2025-12-{day}T10", [f"{day}a", f"{day}b"])
    with capture_logs() as lines:
        plan = await world.run()
    assert (plan.end, plan.limit, plan.complete_until) == ("2025-12-11T10:00:00.000", 4, "2025-12-11T10:00:00.000")
    assert [line["end"] for line in lines if line["log_level"] == "warning"] == [plan.end]
    assert [(p.name, p.value) for p in world.telemetry.published] == [("RowsOut", 4), ("LimitReached", 1)]
    assert world.facts("LimitReached") == [
        {"pipeline": "requests", "run_id": "r1", "max_records": 4, "frontier": plan.end}
    ]
    following = await world.run(max_records=1)
    assert (following.start, following.end, following.limit) == (plan.end, "2025-12-12T10:00:00.000", 1)
    assert following.expected_rows == 4
    last = await world.run(max_records=1_000)
    assert (last.end, last.limit) == ("2025-12-19T10:00:00.000", None)
    assert len(world.merged) == 20
    assert len(world.facts("LimitReached")) == 2


async def test_nothing_new_is_a_success() -> None:
    """Without a segment the run ends at once; the watermark is confirmed and the mirror says when."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    world.dataset.withdraw("a")
    world.clock.advance(DAY_S)
    plan = await world.plan()
    assert (plan.segments, plan.start, plan.end) == ([], "2025-12-18T10:00:00.000", "2025-12-18T10:00:00.000")
    assert world.ended("r2").state is RunState.SUCCEEDED
    standing = world.watermark()
    assert standing is not None
    assert (standing.cursor, standing.complete_until, standing.version) == (
        "2025-12-20T10:00:00.000",
        "2025-12-18T10:00:00.000",
        2,
    )
    assert world.mirror() == {
        "last_run_timestamp": "2025-12-20T10:00:00.000",
        "updated_at": world.clock.now().isoformat(),
    }


async def test_an_empty_source_leaves_no_watermark() -> None:
    """There is no literal it could hold; the next run is initial again."""
    world = World()
    plan = await world.plan()
    assert (plan.frontier, plan.end, world.ended("r1").state) == (None, plan.start, RunState.SUCCEEDED)
    assert world.watermark() is None
    assert world.mirror() == {"last_run_timestamp": None, "updated_at": world.clock.now().isoformat()}
    world.publish("2025-12-20T10", ["a"])
    assert (await world.run()).mode is RunMode.INITIAL
    assert world.merged == {"a"}


async def test_deleting_the_mirror_starts_over() -> None:
    """The watermark is reset, and so is the place of a forced load; both are said in one line."""
    world = World(collected(max_records=2))
    for day in (10, 15, 20):
        world.publish(f"2025-12-{day}T10", [f"{day}a", f"{day}b"])
    await world.run(max_records=10)
    await world.run(force_initial_load=True)
    assert world.cursor(PLACE) == "2025-12-10T10:00:00.000"
    await world.objects.delete("processed", MIRROR)
    with capture_logs() as lines:
        plan = await world.plan()
    assert [line["cursor"] for line in lines if "starting over" in line["event"]] == ["2025-12-20T10:00:00.000"]
    assert (plan.mode, plan.start, plan.watermark_version) == (RunMode.INITIAL, "2025-12-02T00:00:00.000", 2)
    assert world.ended(plan.run_id).mode is RunMode.INITIAL
    assert (world.cursor(), world.cursor(PLACE)) == (None, None)
    await world.work()
    assert world.cursor() == "2025-12-10T10:00:00.000"


async def test_a_run_that_was_under_way_does_not_undo_a_start_over() -> None:
    """Planned before the mirror was deleted, it may merge its rows but neither moves nor shows the watermark."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    world.publish("2025-12-21T10", ["b"])
    await world.plan("slow")
    slow, world.publisher.sent[FETCH] = world.publisher.sent[FETCH], []
    world.clock.advance(901)
    await world.objects.delete("processed", MIRROR)
    await world.plan("anew")
    world.publisher.sent[FETCH] += slow
    anew = [c for c in world.commands() if c.run_id == "anew"]
    for command in [c for c in world.commands() if c.run_id == "slow"]:
        await world.carry_out(command)
    assert world.cursor() is None
    assert world.mirror()["last_run_timestamp"] is None
    for command in anew:
        await world.carry_out(command)
    standing = world.watermark()
    assert standing is not None
    assert (standing.cursor, standing.run_id) == ("2025-12-21T10:00:00.000", "anew")


async def test_a_mirror_that_is_deleted_during_a_run_starts_the_next_one_over() -> None:
    """The run does not put it back."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    world.publish("2025-12-21T10", ["b"])
    await world.plan()
    await world.objects.delete("processed", MIRROR)
    await world.work()
    assert world.mirror() == {}
    assert (await world.run()).mode is RunMode.INITIAL
    assert world.mirror()["last_run_timestamp"] == "2025-12-21T10:00:00.000"


async def test_a_pipeline_without_a_mirror_needs_none() -> None:
    """Nothing is looked for, nothing is reset."""
    pipeline = collected()
    target = pipeline.target.model_copy(update={"state_mirror": None})
    world = World(pipeline.model_copy(update={"target": target}))
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    assert (await world.run()).mode is RunMode.INCREMENTAL
    assert world.mirror() == {}


async def test_a_schedule_slot_is_one_run() -> None:
    """However often it is delivered; it brings its payload along."""
    world = World()
    world.publish("2025-12-20T10", ["a", "b"])
    world.publish("2025-12-21T10", ["c", "d"])
    slot = datetime.fromisoformat("2026-01-01T06:00:00Z")
    scheduled = ScheduledScan(pipeline="requests", slot=slot, collect=CollectPayload(max_records=2))
    assert not (await world.deliver(scheduled)).failed
    assert not (await world.deliver(scheduled)).failed
    assert [command.run_id for command in world.commands()] == ["requests-slot-20260101T060000Z"]
    await world.work()
    assert not (await world.deliver(scheduled)).failed
    assert (world.commands(), world.merged, len(world.ledger.table.runs)) == ([], {"a", "b"}, 1)


async def test_one_crowded_instant_makes_progress_under_any_limit() -> None:
    """It is taken whole, by several fetchers, and the next run goes on behind it."""
    world = World()
    world.publish("2025-12-20T10", range(35))
    world.publish("2025-12-21T10", ["z"])
    plan = await world.run(max_records=1)
    assert (plan.end, plan.limit, len(world.merged)) == ("2025-12-20T10:00:00.000", 1, 35)
    assert [s.range for s in plan.segments][1:] == [
        KeyRange(start=plan.end, to=plan.end, to_key="16"),
        KeyRange(start=plan.end, to=plan.end, after_key="16", to_key="24"),
        KeyRange(start=plan.end, to=plan.end, after_key="24", to_key="32"),
        KeyRange(start=plan.end, to=plan.end, after_key="32"),
    ]
    assert (await world.run(max_records=1)).limit is None
    assert "z" in world.merged
    assert world.cursor() == "2025-12-21T10:00:00.000"
