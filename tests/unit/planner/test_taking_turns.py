"""Requests for a pipeline whose present run has not ended, or that another planner is planning."""

from contracts.runs import RunMode, RunState
from services.runtime.leases import Lease
from services.runtime.ledger import Run, ScanCounts
from tests.fakes.leases import FakeLeases
from tests.unit.planner.collecting import FETCH, World


async def test_a_request_waits_for_the_run_before_it() -> None:
    """It comes back until that run has ended, or has taken too long; the run itself is not kept waiting."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.plan("first")
    second = world.request("second")
    outcome = await world.deliver(second)
    assert (outcome.delays, outcome.reasons) == ({"d": 15.0}, {"d": "run first of requests has not ended yet"})
    assert "second" not in world.ledger.table.runs
    assert not (await world.deliver(world.request("first"))).failed
    world.clock.advance(600)
    assert (await world.deliver(second, receives=12)).delays == {"d": 60.0}
    await world.work()
    assert not (await world.deliver(second)).failed
    assert world.kept("second").mode is RunMode.INCREMENTAL
    world.clock.advance(899)
    assert (await world.deliver(world.request("third"))).failed
    world.clock.advance(1)
    assert not (await world.deliver(world.request("third"))).failed


async def test_overlapping_runs_lose_nothing() -> None:
    """Whichever ends first moves the watermark; what the other one read is merged once."""
    for order in (["old", "young"], ["young", "old"]):
        world = World()
        world.publish("2025-12-20T10", ["a"])
        await world.plan("old")
        world.clock.advance(901)
        world.publish("2025-12-21T10", ["b"])
        await world.plan("young")
        for run_id in order:
            for command in [c for c in world.commands() if c.run_id == run_id]:
                await world.carry_out(command)
            assert world.ended(run_id).state is RunState.SUCCEEDED
        assert world.cursor() == ("2025-12-20T10:00:00.000" if order[0] == "old" else "2025-12-21T10:00:00.000")
        world.publisher.sent[FETCH].clear()
        await world.run("after")
        assert world.merged == {"a", "b"}


async def test_planning_is_one_at_a_time() -> None:
    """A planner that holds the lease keeps others waiting, but never for its whole life."""
    world = World()
    lease: Lease = await FakeLeases(world.clock, world.leases).acquire("plan:requests", "other", 60)
    assert lease.token == 1
    outcome = await world.deliver(world.request("r"))
    assert (outcome.delays, list(world.ledger.table.runs)) == ({"d": 15.0}, [])
    world.clock.advance(61)
    assert not (await world.deliver(world.request("r"))).failed


async def test_replays_keep_nobody_waiting() -> None:
    """They read nothing of the source."""
    world = World()
    run = Run("again", "requests", RunMode.REPLAY, RunState.PLANNING, world.clock.now().isoformat())
    await world.ledger.open_run(run)
    await world.ledger.start_run("again", planned=1, scan=ScanCounts(), frontier=None)
    assert not (await world.deliver(world.request("r"))).failed
