"""Collecting runs when planners die, sources refuse, tables are lost and requests meet."""

from contextlib import suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from contracts.fetching import KeyRange
from contracts.runs import PlanRun, RunMode, RunState
from services.planner.use_case.plan import plan_run
from services.runtime.datasets import Tally
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from tests.fakes.datasets import FakeDataset
from tests.fakes.effects import Effects, KilledError
from tests.property.world.faults import Blow, Line, Strike
from tests.unit.planner.collecting import MIRROR, PLACE, World, collected

REFUSAL = "erm2-nwe9: 400 query.soql.no-such-column: No such column: creatd"


class Refusing(FakeDataset):
    """A dataset that answers one kind of question with an error."""

    error: Exception = PermanentError(REFUSAL)

    def seen_by(self, effects: Effects) -> FakeDataset:
        """The same refusal for all."""
        del effects
        return self

    async def rows_by_day(self, within: KeyRange) -> list[Tally]:
        """Refuse."""
        del within
        raise self.error


def refusing(error: Exception | None = None) -> World:
    """A world whose source refuses to count."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    refuser = Refusing(world.source, world.dataset.rows)
    refuser.error = error or refuser.error
    world.dataset = refuser
    return world


async def stories() -> dict[str, World]:
    """Worlds in which a request waits: at the first run, a later one, one that starts over, and a forced load."""
    worlds = {name: World(collected(max_records=12)) for name in ("first", "later", "over", "forced")}
    for name, world in worlds.items():
        world.publish("2025-12-10T10", [f"{n:02}" for n in range(12)])
        world.publish("2025-12-12T10", range(20, 24))
        if name != "first":
            await world.run()
            await world.run(force_initial_load=True)
        if name == "over":
            await world.objects.delete("processed", MIRROR)
        world.publish("2025-12-30T10", range(30, 36))
        world.telemetry.published.clear()
    return worlds


async def strike(world: World, name: str, line: Line) -> PlanRun:
    """A planner handles the request and may not survive it."""
    request = world.request("struck", force_initial_load=name == "forced")
    try:
        await world.deliver(request, network=line)
    except KilledError:
        assert line.dead
    return request


@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
@pytest.mark.parametrize("name", ["first", "later", "over", "forced"])
async def test_a_planner_may_die_anywhere(name: str, blow: Blow) -> None:
    """The redelivered request continues the run to the end that an undisturbed one comes to."""
    calm, line = (await stories())[name], Line()
    await strike(calm, name, line)
    await calm.work()
    assert line.exchanges >= 10
    for place in range(1, line.exchanges + 1):
        world = (await stories())[name]
        request = await strike(world, name, Line(Strike(blow, place)))
        for _ in range(10):
            world.clock.advance(20)
            if not (await world.deliver(request)).failed:
                break
        else:
            raise AssertionError(f"{blow.name} at {place}: it is never planned")
        await world.work()
        run, undisturbed = world.ended("struck"), calm.ended("struck")
        assert (run.state, run.collection, run.frontier, run.planned, run.settled) == (
            RunState.SUCCEEDED,
            undisturbed.collection,
            undisturbed.frontier,
            undisturbed.planned,
            undisturbed.planned,
        ), f"{blow.name} at {place}"
        assert world.kept("struck").segments == calm.kept("struck").segments
        assert world.merged == calm.merged
        assert [world.cursor(), world.cursor(PLACE)] == [calm.cursor(), calm.cursor(PLACE)]
        assert world.facts("LimitReached") == calm.facts("LimitReached")


async def test_a_refusal_fails_the_run_with_the_message_of_the_source() -> None:
    """Nothing else is tried, and a redelivery of the request only announces the failure again."""
    world = refusing()
    request = world.request("r")
    assert not (await world.deliver(request)).failed
    run = world.ended("r")
    assert (run.state, run.reason, run.mode) == (RunState.FAILED, REFUSAL, RunMode.INITIAL)
    assert (world.commands(), world.watermark()) == ([], None)
    world.publisher.facts.clear()
    assert not (await world.deliver(request)).failed
    assert [fact["reason"] for fact in world.facts("RunFailed")] == [REFUSAL]


async def test_a_source_that_does_not_answer_is_asked_again() -> None:
    """The request comes back after the delay the source asks for, and goes on with its run."""
    world = refusing(TemporaryError("throttled", delay=77.0))
    request = world.request("r")
    outcome = await world.deliver(request)
    assert (outcome.delays, outcome.reasons) == ({"d": 77.0}, {"d": "throttled"})
    assert world.ended("r").state is RunState.PLANNING
    world.dataset = FakeDataset(world.source, world.dataset.rows)
    assert not (await world.deliver(request)).failed
    await world.work()
    assert (world.ended("r").state, world.merged) == (RunState.SUCCEEDED, {"a"})


async def test_a_cursor_that_is_no_timestamp_fails_the_run() -> None:
    """An operator wrote it into the watermark; the error quotes it."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    await world.watermarks.reset("requests#request", "2025-12-20T10:00:00Z", expected_version=1, run_id="operator")
    await world.deliver(world.request("r"))
    reason = world.ended("r").reason
    assert reason == "cursor '2025-12-20T10:00:00Z' has a zone; the planner reads local time as it is given"


async def test_a_bucket_that_may_not_be_looked_at_fails_the_run() -> None:
    """Whether somebody deleted the mirror cannot be told."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    await world.run()
    world.objects.buckets["processed"].denied = True
    await world.deliver(world.request("r"))
    assert (world.ended("r").state, world.ended("r").reason) == (RunState.FAILED, "bucket processed is denied")


async def test_a_plan_from_a_lost_ledger_proves_no_frontier() -> None:
    """Its ranges are fetched all the same."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    request = world.request("r")
    await world.deliver(request)
    world.ledger.table.runs.clear()
    world.ledger.table.segments.clear()
    world.clock.advance(1)
    with capture_logs() as lines:
        assert not (await world.deliver(request)).failed
    assert "run was opened anew; its plan proves no frontier any more" in [line["event"] for line in lines]
    await world.work()
    run = world.ended("r")
    assert (run.state, run.frontier, run.mode, world.merged) == (RunState.SUCCEEDED, None, RunMode.INITIAL, {"a"})
    assert world.watermark() is None


async def test_a_run_that_settled_before_it_counted_as_started_is_ended_by_its_planner() -> None:
    """Fetchers may be faster than the planner's last write."""
    world = World()
    world.publish("2025-12-20T10", ["a"])
    request = world.request("r")
    with pytest.raises(KilledError):
        await world.deliver(request, network=Line(Strike(Blow.KILL_BEFORE, await _exchange_of_the_start())))
    assert world.ended("r").state is RunState.PLANNING
    await world.work()
    world.clock.advance(61)
    assert not (await world.deliver(request)).failed
    assert world.ended("r").state is RunState.SUCCEEDED


async def _exchange_of_the_start() -> int:
    """At which of a planner's exchanges the run counts as started."""
    for place in range(1, 100):
        world = World()
        world.publish("2025-12-20T10", ["a"])
        with suppress(KilledError):
            await world.deliver(world.request("r"), network=Line(Strike(Blow.KILL_AFTER, place)))
        if "r" in world.ledger.table.runs and world.ended("r").state is RunState.RUNNING:
            return place
    raise AssertionError("it never starts")


async def test_a_planner_of_objects_collects_nothing() -> None:
    """It says so, and the request stays."""
    world = World()
    ports = replace(world.planner(), collecting=None)
    with pytest.raises(BadDeclarationError, match="does not collect from sources of kind 'socrata'"):
        await plan_run(ports, world.request("r"))
