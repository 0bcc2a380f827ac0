"""Loads of one entity: what they read and what they may claim."""

from datetime import timedelta

from contracts.loads import START_OF_TIME, FetchSlice, Slice
from contracts.runs import LoadType, RunMode, RunState, ScheduledScan
from services.runtime.ledger import Collection
from tests.unit.planner.landing import CHANGED, FETCH, ID, ORDERS, PAYMENTS, VALIDATE, World, entity, of_api, request

NOON = "2026-01-01T00:00:00.000000"
"""Where the world's clock begins."""


async def test_the_first_load_is_of_everything() -> None:
    """It starts at the start of time, takes rows without a cursor along, and is cut into slices that border."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", f"{n:02}") for n in range(24)] + [(None, "99")]
    plan = await world.plan("r1")
    assert (plan.load_type, plan.start, plan.end, plan.frontier) == (LoadType.FULL, START_OF_TIME, NOON, NOON)
    assert (plan.fields, plan.schema_version, plan.run_date) == ([ID, CHANGED], 1, "2026-01-01")
    assert [(planned.slice.after, planned.slice.upto, planned.expected_rows) for planned in plan.slices] == [
        (None, ["09"], 10),
        (["09"], ["19"], 10),
        (["19"], None, 5),
    ]
    assert all(planned.slice.undated for planned in plan.slices)
    assert len({planned.segment_id for planned in plan.slices}) == 3
    run = world.ended("r1")
    assert (run.mode, run.planned, run.destination) == (RunMode.FULL, 3, "s3://processed/bronze/orders/")
    assert run.collection == Collection(
        start=START_OF_TIME, end=NOON, expected_rows=25, mirror="processed/logs/checkpoints.json", entity="orders"
    )


async def test_commands_carry_the_plan() -> None:
    """One command a slice, with the fields as they were when the load was planned."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", "a")]
    plan = await world.plan("r1")
    (planned,) = plan.slices
    assert world.commands() == [
        FetchSlice(
            pipeline=ORDERS,
            run_id="r1",
            segment_id=planned.segment_id,
            run_date="2026-01-01",
            load_type=LoadType.FULL,
            fields=[ID, CHANGED],
            slice=Slice(start=START_OF_TIME, end=NOON, undated=True),
            expected_rows=1,
        )
    ]


async def test_the_next_load_goes_on_at_the_watermark() -> None:
    """From the end of the last one to the ceiling, and without rows that have no cursor."""
    world = World()
    await world.run("r1")
    assert world.cursor() == NOON
    world.clock.advance(60)
    world.orders.rows = [("2026-01-01T00:00:30.000000", "a"), (None, "b")]
    plan = await world.run("r2")
    assert (plan.load_type, plan.start, plan.end) == (LoadType.INCREMENTAL, NOON, "2026-01-01T00:01:00.000000")
    assert [planned.slice.undated for planned in plan.slices] == [False]
    assert (world.cursor(), plan.watermark_version) == ("2026-01-01T00:01:00.000000", 1)
    assert world.mirror()["orders"]["last_sync_timestamp"] == "2026-01-01T00:01:00.000000"


async def test_a_load_overlaps_the_last_one_as_declared() -> None:
    """Some of the last window is read again, but never what is before the start of time."""
    world = World([entity("orders", overlap_seconds=90)])
    await world.run("r1")
    world.clock.advance(60)
    plan = await world.run("r2")
    assert (plan.start, plan.frontier) == ("2025-12-31T23:58:30.000000", "2026-01-01T00:01:00.000000")
    world = World([entity("orders", overlap_seconds=10**12)])
    await world.run("r1")
    world.clock.advance(60)
    assert (await world.run("r2")).start == START_OF_TIME


async def test_a_window_without_rows_still_moves_the_watermark() -> None:
    """Nothing is fetched, and the run succeeds with no records."""
    world = World()
    await world.run("r1")
    world.clock.advance(60)
    plan = await world.plan("r2")
    assert (plan.slices, world.publisher.sent[FETCH]) == ([], [])
    assert (world.ended("r2").state, world.cursor()) == (RunState.SUCCEEDED, "2026-01-01T00:01:00.000000")
    assert [fact["records"] for fact in world.facts("RunCompleted")] == [0, 0]


async def test_nothing_below_the_ceiling() -> None:
    """A transaction that is open since before the last load leaves nothing to read, and the watermark stays."""
    world = World([entity("orders", overlap_seconds=90)])
    await world.run("r1")
    world.clock.advance(60)
    world.orders.behind = timedelta(seconds=60)
    plan = await world.plan("r2")
    assert (plan.slices, plan.frontier, plan.start) == ([], None, plan.end)
    assert (world.ended("r2").state, world.cursor()) == (RunState.SUCCEEDED, NOON)
    assert world.orders.asked[-2:] == ["describe", "ceiling"]


async def test_a_full_load_of_an_empty_entity_is_a_load() -> None:
    """One segment without rows: that everything is gone is what readers must learn."""
    world = World()
    for number, load_type in enumerate((LoadType.FULL, LoadType.KEYS)):
        (planned,) = (await world.run(f"r{number}", load_type)).slices
        assert (planned.expected_rows, planned.slice.undated, planned.slice.after) == (0, True, None)


async def test_a_forced_full_load_begins_again() -> None:
    """It reads everything, and moves the watermark on from where it is."""
    world = World()
    await world.run("r1")
    world.clock.advance(60)
    plan = await world.run("r2", LoadType.FULL)
    assert (plan.start, plan.watermark_version) == (START_OF_TIME, 1)
    assert world.cursor() == "2026-01-01T00:01:00.000000"


async def test_a_sweep_of_keys() -> None:
    """It reads the key of every row, whatever its cursor, and moves nothing."""
    world = World()
    await world.run("r1")
    world.clock.advance(60)
    world.orders.rows = [("2026-01-01T00:00:30.000000", "a"), ("2026-01-01T00:01:30.000000", "b")]
    plan = await world.run("r2", LoadType.KEYS)
    assert (plan.fields, plan.frontier, plan.end) == ([ID], None, "2026-01-01T00:01:00.000000")
    assert [(p.slice.start, p.slice.end, p.expected_rows) for p in plan.slices] == [
        (START_OF_TIME, "9999-12-31T23:59:59.999999", 2)
    ]
    assert (world.ended("r2").mode, world.ended("r2").state) == (RunMode.KEYS, RunState.SUCCEEDED)
    assert (world.cursor(), plan.schema_version) == (NOON, 1)


async def test_an_api_is_read_again_for_what_shows_up_late() -> None:
    """Its frontier stays behind by the lag, but never goes back."""
    world = World([of_api("payments", lag_seconds=60)])
    plan = await world.run("r1", pipeline=PAYMENTS)
    assert (plan.end, plan.frontier) == (NOON, "2025-12-31T23:59:00.000000")
    world.clock.advance(30)
    plan = await world.run("r2", pipeline=PAYMENTS)
    assert (plan.start, plan.end) == ("2025-12-31T23:59:00.000000", "2026-01-01T00:00:30.000000")
    assert world.cursor("payments") == "2025-12-31T23:59:30.000000"
    world.tables[PAYMENTS].behind = timedelta(seconds=60)
    plan = await world.run("r3", pipeline=PAYMENTS)
    assert (plan.end, plan.frontier, plan.slices) == ("2025-12-31T23:59:30.000000", None, [])
    assert world.cursor("payments") == "2025-12-31T23:59:30.000000"


async def test_what_a_load_without_a_type_is() -> None:
    """The setting says it, also of a scheduled run; the request overrules it."""
    world = World(default_load=LoadType.FULL)
    await world.run("r1")
    world.clock.advance(60)
    assert (await world.run("r2")).load_type is LoadType.FULL
    world.clock.advance(60)
    assert (await world.run("r3", LoadType.INCREMENTAL)).load_type is LoadType.INCREMENTAL
    world.clock.advance(60)
    slot = ScheduledScan(pipeline=ORDERS, slot=world.clock.now())
    assert not (await world.deliver(slot)).failed
    assert world.ended("shop.orders-slot-20260101T000300Z").mode is RunMode.FULL


async def test_a_dry_run_only_shows() -> None:
    """Rows, slices and the watermark afterwards; nothing is opened, recorded or sent."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", f"{n:02}") for n in range(11)]
    shown = await world.preview(request("p1"))
    assert (shown.mode, shown.rows, shown.messages, shown.frontier) == (RunMode.FULL, 11, 2, NOON)
    assert [each.label for each in shown.segments] == [
        f"{START_OF_TIME} until {NOON}, keys up to 09",
        f"{START_OF_TIME} until {NOON}, keys after 09",
    ]
    assert (world.ledger.table.runs, world.schemas.versions, world.commands()) == ({}, {}, [])


async def test_what_lies_unfinished_is_announced_again() -> None:
    """A later run finds fetched segments of an earlier one that nobody has validated."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", "a")]
    plan = await world.plan("r1")
    await world.ledger.segment_fetched("r1", plan.slices[0].segment_id, 1, "raw/a.land")
    world.clock.advance(901)
    await world.plan("r2")
    (message,) = world.publisher.commands(VALIDATE)
    assert (message.body["run_id"], message.body["key"]) == ("r1", "a.land")
