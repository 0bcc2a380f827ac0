"""What the planner announces again: raw objects on request, and segments that wait too long."""

import pytest

from contracts.fetching import ValidateFetched
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import MergeSegment, Occurrence, SegmentCounts, Settlement, segment_id_of
from services.runtime.ledger import Step
from tests.fakes.effects import KilledError
from tests.property.world.faults import Blow, Line, Strike
from tests.unit.planner.collecting import MERGE, VALIDATE, W, World

RAW = [Occurrence(bucket="raw", key=f"raw/2026/01/01/requests/r/{n}.json.gz", version_id=f"v{n}") for n in range(2)]
LONG_S = 300


def replay(run_id: str = "again") -> PlanRun:
    """A request to judge two raw objects once more, one of them named twice."""
    return PlanRun(pipeline="requests", run_id=run_id, mode=RunMode.REPLAY, occurrences=[*RAW, RAW[0]])


def validations(world: World) -> list[ValidateFetched]:
    """What the validator was told to judge."""
    return [ValidateFetched.model_validate(message.body) for message in world.publisher.commands(VALIDATE)]


async def judge(world: World, command: ValidateFetched) -> None:
    """Validator and merger, for a raw object of three rows of which one is new."""
    ids = (command.run_id, command.segment_id)
    await world.ledger.segment_fetched(*ids, 3, f"{command.bucket}/{command.key}")
    await world.ledger.segment_validated(*ids, SegmentCounts(received=3, rows=2, quarantined=1), "validated/s")
    settlement = Settlement(merged=1, row_duplicates=1, quarantined=1)
    await world.ledger.segment_merged(*ids, settlement, location="validated/s", version=2)
    await world.planner().completion.complete(command.run_id, W)


async def test_raw_objects_are_judged_again() -> None:
    """Each as a segment of its own whose name depends on it only; the run proves no frontier."""
    world = World()
    assert not (await world.deliver(replay())).failed
    assert validations(world) == [
        ValidateFetched(
            pipeline="requests", run_id="again", segment_id=segment_id_of([o]), bucket="raw", key=o.key, replay=True
        )
        for o in RAW
    ]
    entries = await world.ledger.segments("again")
    assert {(e.segment_id, e.step, e.planned) for e in entries} == {(segment_id_of([o]), Step.PLANNED, 0) for o in RAW}
    for command in validations(world):
        await judge(world, command)
    run = world.ended("again")
    assert (run.state, run.mode, run.frontier, run.destination) == (
        RunState.SUCCEEDED,
        RunMode.REPLAY,
        None,
        "s3://processed/processed/month=",
    )
    assert [fact["records"] for fact in world.facts("RunCompleted")] == [2]
    assert (world.watermark(), world.leases.records) == (None, {})
    assert not (await world.deliver(replay())).failed
    assert len(validations(world)) == 2


async def test_a_replay_of_nothing_is_over_at_once() -> None:
    """It has no segment that could end it."""
    world = World()
    assert not (await world.deliver(replay().model_copy(update={"occurrences": []}))).failed
    assert world.ended("again").state is RunState.SUCCEEDED


@pytest.mark.parametrize("blow", Blow, ids=lambda blow: blow.name.lower())
async def test_a_planner_may_die_anywhere_in_a_replay(blow: Blow) -> None:
    """The redelivered request goes on with it."""
    line = Line()
    await World().deliver(replay(), network=line)
    for place in range(1, line.exchanges + 1):
        world = World()
        try:
            await world.deliver(replay(), network=Line(Strike(blow, place)))
        except KilledError:
            assert blow in {Blow.KILL_BEFORE, Blow.KILL_AFTER}
        assert not (await world.deliver(replay())).failed
        for command in validations(world):
            await judge(world, command)
        assert (world.ended("again").state, world.ended("again").settled) == (RunState.SUCCEEDED, 2)


async def stranded() -> World:
    """A run with a segment at every step, and a replay whose raw object was read."""
    world = World()
    for day in (10, 11, 12, 13):
        world.publish(f"2025-12-{day}T10", range(day * 10, day * 10 + 9))
    await world.plan("old")
    _, fetched, validated, merged = world.commands()
    for command in (fetched, validated, merged):
        await world.ledger.segment_fetched("old", command.segment_id, 9, f"raw/a/{command.segment_id}.json.gz")
    counts = SegmentCounts(received=9, rows=9)
    for command in (validated, merged):
        await world.ledger.segment_validated("old", command.segment_id, counts, f"validated/{command.segment_id}")
    await world.ledger.segment_merged(
        "old", merged.segment_id, Settlement(merged=9), location=f"validated/{merged.segment_id}", version=1
    )
    await world.deliver(replay())
    await world.ledger.segment_fetched("again", segment_id_of([RAW[0]]), 3, f"raw/{RAW[0].key}")
    world.publisher.sent[VALIDATE].clear()
    return world


async def test_segments_that_wait_too_long_are_announced_again() -> None:
    """To whoever takes the next step; those that wait for a fetcher are in its queue, and there they stay."""
    world = await stranded()
    _, fetched, validated, _ = world.commands()
    world.clock.advance(901)
    await world.plan("young")
    assert {(v.run_id, v.segment_id, v.bucket, v.key, v.replay) for v in validations(world)} == {
        ("old", fetched.segment_id, "raw", f"a/{fetched.segment_id}.json.gz", False),
        ("again", segment_id_of([RAW[0]]), "raw", RAW[0].key, True),
    }
    assert [MergeSegment.model_validate(m.body) for m in world.publisher.commands(MERGE)] == [
        MergeSegment(bucket="validated", key=validated.segment_id)
    ]


async def test_segments_that_came_just_now_are_left_alone() -> None:
    """As are those of runs that have ended."""
    world = await stranded()
    first, fetched, *_ = world.commands()
    world.clock.advance(901)
    await world.ledger.segment_fetched("old", first.segment_id, 9, f"raw/a/{first.segment_id}.json.gz")
    await world.ledger.finish_run("again", RunState.FAILED, reason="given up")
    world.clock.advance(LONG_S - 1)
    await world.plan("young")
    assert [v.segment_id for v in validations(world)] == [fetched.segment_id]
    world.clock.advance(901)
    await world.plan("younger")
    assert {v.segment_id for v in validations(world)} == {first.segment_id, fetched.segment_id}


async def test_a_replay_sweeps_nothing() -> None:
    """Only runs that read the source look after others."""
    world = await stranded()
    world.clock.advance(901)
    await world.deliver(replay("another"))
    assert {v.run_id for v in validations(world)} == {"another"}
    assert world.publisher.sent[MERGE] == []
