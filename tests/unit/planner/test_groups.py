"""Runs of a group: one run for all, one for each entity, and an end when the last of them has ended."""

import pytest

from contracts.runs import LoadType, PlanRun, RunMode, RunState, ScheduledScan
from services.runtime.failures import PermanentError
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.planner.landing import FETCH, ORDERS, PLAN, World, request

GROUP = "shop"


def children(world: World) -> list[PlanRun]:
    """What waits for the planner, each request once."""
    found = {message.dedup_id: PlanRun.model_validate(message.body) for message in world.publisher.commands(PLAN)}
    return list(found.values())


async def test_a_run_for_all_and_one_for_each() -> None:
    """Each entity's run names the group's, which knows all of them and where its log goes."""
    world = World()
    assert not (await world.deliver(request("g", LoadType.FULL, GROUP))).failed
    run = world.ended("g")
    assert (run.pipeline, run.mode, run.state) == (GROUP, RunMode.FULL, RunState.PLANNING)
    assert (run.children, run.planned) == (("g.orders", "g.payments"), None)
    assert (run.log, run.destination) == ("processed/logs/2026-01-01/g.log", "s3://processed/bronze/")
    assert [(each.pipeline, each.run_id, each.parent, each.load.load_type) for each in children(world)] == [
        ("shop.orders", "g.orders", "g", LoadType.FULL),
        ("shop.payments", "g.payments", "g", LoadType.FULL),
    ]
    assert world.publisher.sent[FETCH] == []


async def test_a_group_ends_with_its_last_entity() -> None:
    """Its log names them all, and their watermarks are in one mirror."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", f"{n:02}") for n in range(3)]
    await world.run_group(request("g", pipeline=GROUP))
    assert world.ended("g").state is RunState.SUCCEEDED
    assert sorted(world.mirror()) == ["orders", "payments"]
    log = (await world.objects.get("processed", "logs/2026-01-01/g.log")).body.decode()
    assert "Processing orders: Extracted 3 records" in log
    assert world.ended("g.orders").parent == "g"


async def test_one_entity_that_fails_fails_no_other() -> None:
    """The group's run ends as failed and names it; the others' watermarks move."""
    world = World()
    world.orders.trouble["describe"] = PermanentError("there is no table public.orders in database shop")
    await world.run_group(request("g", pipeline=GROUP))
    assert world.ended("g").reason == (
        "1 of 2 entities failed: shop.orders: there is no table public.orders in database shop"
    )
    assert world.ended("g.payments").state is RunState.SUCCEEDED
    assert (world.cursor("orders"), world.cursor("payments") is None) == (None, False)


async def test_only_some_entities() -> None:
    """Those that the request names; one alone is still a group's run."""
    world = World()
    await world.run_group(request("g", pipeline=GROUP, entities=["payments"]))
    assert (world.ended("g").children, world.ended("g").state) == (("g.payments",), RunState.SUCCEEDED)


async def test_an_entity_that_is_not_there() -> None:
    """The run fails at once and says which there are; nothing is sent."""
    world = World()
    for _ in range(2):
        assert not (await world.deliver(request("g", pipeline=GROUP, entities=["orders", "oders"]))).failed
    assert world.ended("g").reason == "shop has no entities ['oders']; it has ['orders', 'payments']"
    assert (children(world), len(world.facts("RunFailed"))) == ([], 1)


async def test_a_planner_that_dies_while_it_refuses_is_continued() -> None:
    """The failure is announced, wherever it died."""
    wrong = request("g", pipeline=GROUP, entities=["oders"])
    switch = KillSwitch()
    await World().deliver(wrong, effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = World()
        with pytest.raises(KilledError):
            await world.deliver(wrong, effects=Effects(KillSwitch(place)))
        assert not (await world.deliver(wrong)).failed
        assert (world.ended("g").state, len(world.facts("RunFailed"))) == (RunState.FAILED, 1)


async def test_a_schedule_runs_the_group() -> None:
    """One slot is one run, with the load type that the schedule gives."""
    world = World()
    slot = ScheduledScan(pipeline=GROUP, slot=world.clock.now(), load={"load_type": "Full"})
    for _ in range(2):
        assert not (await world.deliver(slot)).failed
    assert [run for run in world.ledger.table.runs if run.startswith(GROUP)] == ["shop-slot-20260101T000000Z"]
    assert {each.load.load_type for each in children(world)} == {LoadType.FULL}


async def test_a_repetition_asks_for_the_same() -> None:
    """What the run was opened with counts, whatever a load without a type means by now."""
    world = World()
    await world.deliver(request("g", pipeline=GROUP))
    first = children(world)
    world.publisher.sent[PLAN].clear()
    world.default_load = LoadType.FULL
    await world.deliver(request("g", pipeline=GROUP))
    assert children(world) == first
    await world.plan_children()
    await world.work()
    world.publisher.sent[PLAN].clear()
    await world.deliver(request("g", pipeline=GROUP))
    assert (children(world), world.ended("g").state) == ([], RunState.SUCCEEDED)


async def test_a_planner_that_dies_is_continued() -> None:
    """Each entity is run once, wherever the planner of the group died."""
    switch = KillSwitch()
    await World().deliver(request("g", pipeline=GROUP), effects=Effects(switch))
    for place in range(1, len(switch.places) + 1):
        world = World()
        with pytest.raises(KilledError):
            await world.deliver(request("g", pipeline=GROUP), effects=Effects(KillSwitch(place)))
        await world.run_group(request("g", pipeline=GROUP))
        assert (world.ended("g").state, len(world.ledger.table.runs)) == (RunState.SUCCEEDED, 3)
        assert len(world.facts("RunCompleted")) == 3


async def test_a_dry_run_of_a_group() -> None:
    """Each entity's plan is shown under the run it would have, and all of them together under the group's."""
    world = World()
    world.orders.rows = [("2025-12-31T10:00:00.000000", f"{n:02}") for n in range(3)]
    shown = await world.preview(request("p", pipeline=GROUP))
    assert (shown.rows, shown.messages, len(shown.segments), shown.error) == (3, 4, 2, None)
    assert shown.segments[0].label.startswith("orders: 1970-01-01")
    assert ((await world.shown("p.orders")).rows, (await world.shown("p.payments")).rows) == (3, 0)
    world.orders.trouble["cut"] = PermanentError("no")
    assert (await world.preview(request("q", pipeline=GROUP))).error == "orders: no"
    assert (await world.preview(request("s", pipeline=GROUP, entities=["x"]))).error == (
        "shop has no entities ['x']; it has ['orders', 'payments']"
    )
    assert (world.ledger.table.runs, world.publisher.sent[PLAN]) == ({}, [])


async def test_neither_a_pipeline_nor_a_group() -> None:
    """The error names what there is."""
    outcome = await World().deliver(request("g", pipeline="shopping"))
    assert outcome.reasons == {"d": f"there is no pipeline 'shopping'; there are ['{ORDERS}', 'shop.payments']"}


async def test_a_replay_of_a_group_is_refused() -> None:
    """No run is opened that nobody would end."""
    world = World()
    assert (await world.deliver(request("g", pipeline=GROUP, mode=RunMode.REPLAY))).failed
    assert world.ledger.table.runs == {}
