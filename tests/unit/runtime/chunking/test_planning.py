"""Planning a chunked run, over fakes: one snapshot, one plan, both ledgers, from wherever the last caller died."""

from dataclasses import replace
from datetime import date

import pytest

from contracts.chunk_jobs import ChunkSizes
from contracts.chunks import WHOLE, ChunkPayload, PlannedChunk
from contracts.runs import RunMode, RunState
from services.runtime.chunking.ports import ChunkState, Window
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.ledger import ScanCounts
from tests.fakes.effects import Effects, KilledError, KillSwitch
from tests.unit.runtime.chunking.chunk_world import DAY_S, NOTHING, World, keys_of


async def test_a_plan_is_in_both_ledgers() -> None:
    """The run is RUNNING with as many chunks as the plan has, in its own ledger and in the database's."""
    world = World(4, 5, 6, 25, 0)
    await world.plan()
    plan = await world.plans.find("r1")
    assert plan is not None
    assert [(chunk.chunk_id, chunk.rows, chunk.keys) for chunk in plan.chunks] == [
        ("0", 9, 2),
        ("1", 6, 1),
        ("2", 25, 1),
    ]
    assert (plan.rows, plan.keys, plan.pipeline) == (40, 4, "report")
    assert await world.keys(plan) == keys_of(4, 5, 6, 25)
    run = await world.run()
    assert (run.mode, run.state, run.planned) == (RunMode.CHUNKS, RunState.RUNNING, 3)
    assert run.scan == ScanCounts(listed=40, dispatched=40)
    entries = await world.chunks.chunks("r1")
    assert [(entry.chunk_id, entry.rows, entry.keys) for entry in entries] == [("0", 9, 2), ("1", 6, 1), ("2", 25, 1)]
    assert world.tables.chunks == {"r1": {"0": 9, "1": 6, "2": 25}}


async def test_a_large_key_is_worth_a_warning_that_does_not_name_it() -> None:
    """More rows than a chunk may have: the warning says how many, and never whose."""
    world = World(25)
    await world.plan()
    plan = await world.plans.find("r1")
    assert plan is not None
    assert plan.warnings == ["one (day, ssn) has 25 rows, more than 20: it is a chunk of its own"]


async def test_a_run_in_one_piece_is_one_chunk() -> None:
    """It has no list of keys, and no key can be too large for it."""
    world = World(4, 5, 25)
    await world.plan(whole=True)
    plan = await world.plans.find("r1")
    assert plan is not None
    assert plan.chunks == [PlannedChunk(chunk_id=WHOLE, rows=34, keys=3)]
    assert plan.warnings == []
    assert (await world.run()).planned == 1
    assert [info.key for _, info in world.objects.puts] == ["plans/r1/plan.json"]


@pytest.mark.parametrize("whole", [False, True])
async def test_no_rows_are_a_plan_without_chunks(*, whole: bool) -> None:
    """There is nothing to do, and that is known."""
    world = World()
    await world.plan(whole=whole)
    assert (await world.run()).planned == 0
    assert await world.complete() is RunState.SUCCEEDED


async def test_planning_again_changes_nothing() -> None:
    """Rows that came since, another payload, another way to cut: the plan that was kept is the plan."""
    world = World(4, 5, 6)
    await world.plan()
    await world.done("0")
    before = (await world.plans.find("r1"), await world.run(), await world.chunks.chunks("r1"), len(world.objects.puts))
    world.tables.rows = keys_of(1, 1)
    await world.plan(ChunkPayload(target_rows=1), whole=True)
    after = (await world.plans.find("r1"), await world.run(), await world.chunks.chunks("r1"), len(world.objects.puts))
    assert after == before
    assert len(world.tables.windows) == 1


async def test_a_payload_cuts_its_own_chunks() -> None:
    """A run can be asked for with smaller chunks and other days."""
    world = World(4, 4, 4)
    await world.plan(ChunkPayload(target_rows=5, first_day=date(2025, 12, 1), last_day=date(2025, 12, 31)))
    assert (await world.run()).planned == 3
    plan = await world.plans.find("r1")
    assert plan is not None
    assert world.tables.windows == [Window(plan.first_day, plan.last_day)]
    assert plan.first_day == date(2025, 12, 1)


async def test_whoever_goes_on_tomorrow_covers_the_same_days() -> None:
    """The days are reckoned from when the run was opened, not from when it was taken up again."""
    world = World(4)
    await world.planning.open(world.job, "r1")
    world.clock.advance(3 * DAY_S)
    await world.planning.prepare(world.job, "r1", NOTHING)
    world.clock.advance(3 * DAY_S)
    plan = await world.planning.plan(world.job, "r1", NOTHING)
    assert world.tables.windows == [Window(date(2024, 1, 1), date(2026, 1, 31))]
    assert (plan.first_day, plan.last_day) == (date(2024, 1, 1), date(2026, 1, 31))


async def test_a_run_of_another_pipeline_is_left_alone() -> None:
    """An id that somebody else's run has is a mistake of whoever asked."""
    world = World(4)
    await world.planning.open(world.job, "r1")
    assert (await world.planning.open(world.job, "r1")).run_id == "r1"
    world.ledger.table.runs["r1"] = replace(await world.run(), pipeline="visits")
    with pytest.raises(BadDeclarationError, match="run r1 is not one of report, but one of visits"):
        await world.planning.open(world.job, "r1")


async def test_only_the_runs_own_snapshot_is_planned() -> None:
    """A plan of another run's snapshot would have chunks that nobody may work on."""
    world = World(4)
    await world.planning.open(world.job, "r1")
    with pytest.raises(PermanentError, match=r"run r1 has no snapshot .*: there is none"):
        await world.planning.plan(world.job, "r1", NOTHING)
    await world.plan(run_id="r2")
    with pytest.raises(PermanentError, match=r"run r1 has no snapshot .*: the present one is run r2's"):
        await world.planning.plan(world.job, "r1", NOTHING)
    assert await world.plans.find("r1") is None


async def test_a_planned_run_takes_no_second_snapshot() -> None:
    """Its plan would miss the rows that came since: once another run has the database, it cannot be prepared again."""
    world = World(4)
    await world.plan()
    assert not await world.planning.prepare(world.job, "r1", NOTHING)
    await world.plan(run_id="r2")
    with pytest.raises(PermanentError, match="the present one is run r2's"):
        await world.planning.prepare(world.job, "r1", NOTHING)
    assert world.tables.snapshot_run == "r2"


async def test_an_ended_run_goes_on_with_what_is_left() -> None:
    """Failed chunks have their attempts back, those that are done stay done, and the ids of the others are told."""
    world = World(10, 10, 10, 10)
    await world.plan()
    await world.done("2")
    for chunk_id in ("3", "1"):
        await world.chunks.chunk_failed("r1", chunk_id, "why")
    world.end(RunState.FAILED)
    assert await world.planning.reopen(world.job, "r1") == ["0", "1", "3"]
    run = await world.run()
    assert (run.state, run.settled, run.failed) == (RunState.RUNNING, 1, 0)
    states = [entry.state for entry in await world.chunks.chunks("r1")]
    assert states == [ChunkState.PLANNED, ChunkState.PLANNED, ChunkState.DONE, ChunkState.PLANNED]
    assert world.tables.retried == [("r1", ("1", "3"))]
    assert await world.planning.unfinished("r1") == ["0", "1", "3"]


async def test_a_run_that_failed_before_it_was_planned_can_be_planned() -> None:
    """Once it is open again it starts like a new one."""
    world = World(4)
    await world.planning.open(world.job, "r1")
    await world.ledger.finish_run("r1", RunState.FAILED, reason="no such table")
    assert await world.planning.reopen(world.job, "r1") == []
    await world.plan()
    run = await world.run()
    assert (run.state, run.planned, run.reason) == (RunState.RUNNING, 1, None)


async def _places() -> int:
    switch, world = KillSwitch(), World(4, 5, 6, 7, sizes=ChunkSizes(target_rows=10, max_rows=20, max_keys=2))
    world.process(Effects(switch))
    await world.plan()
    return len(switch.places)


async def test_planning_goes_on_wherever_it_died() -> None:
    """Killed before or after any effect and asked again, it makes one snapshot, one plan and the same chunks."""
    for kill_at in range(1, await _places() + 1):
        world = World(4, 5, 6, 7, sizes=ChunkSizes(target_rows=10, max_rows=20, max_keys=2))
        world.process(Effects(KillSwitch(kill_at)))
        with pytest.raises(KilledError):
            await world.plan()
        if world.tables.snapshot_run is not None:
            world.tables.rows = keys_of(100)  # what comes after the snapshot is the next run's
        world.process()
        await world.plan()
        run = await world.run()
        assert (run.state, run.planned, run.scan.listed) == (RunState.RUNNING, 3, 22)
        assert [entry.rows for entry in await world.chunks.chunks("r1")] == [9, 6, 7]
        assert world.tables.chunks == {"r1": {"0": 9, "1": 6, "2": 7}}
        assert len(world.tables.windows) == 1


async def test_going_on_goes_on_wherever_it_died() -> None:
    """Killed at any place while an ended run is opened again, the next one to try finds all of it open."""
    kill_at, dead = 0, True
    while dead:
        kill_at += 1
        world = World(10, 10, 10)
        await world.plan()
        for chunk_id in ("0", "2"):
            await world.chunks.chunk_failed("r1", chunk_id, "why")
        world.end(RunState.FAILED)
        switch = KillSwitch(kill_at)
        world.process(Effects(switch))
        try:
            await world.planning.reopen(world.job, "r1")
        except KilledError:
            world.process()
            await world.planning.reopen(world.job, "r1")
        dead = switch.dead
        run = await world.run()
        assert (run.state, run.failed) == (RunState.RUNNING, 0)
        assert {chunk for _, chunks in world.tables.retried for chunk in chunks} == {"0", "2"}
    assert kill_at > 8
