"""Actions on runs whose planning failed, was broken off, or is known to the databases only."""

import pytest

from contracts.chunks import ActionName, ChunkPayload
from contracts.runs import RunState
from services.chunk_worker.use_case import act_directly
from services.runtime.failures import BadDeclarationError, PermanentError
from tests.unit.chunk_worker.world import NAME, RUN, TOKEN, World


@pytest.fixture
def world() -> World:
    """Four keys of five rows, and nothing planned."""
    return World()


async def process_all(world: World) -> None:
    """Whatever the run has left."""
    listed = await world.act("get_task02_chunks", run_id=RUN)
    for chunk_id in listed["chunk_ids"]:
        await world.act("process_task02_chunk", run_id=RUN, chunk_id=chunk_id)


async def test_a_run_that_failed_between_its_plan_and_its_start(world: World) -> None:
    """It is started before its chunks are listed, or nobody could tell which of them is the last."""
    planning = world.ports().planning
    await planning.open(world.job, RUN)
    await planning.prepare(world.job, RUN, ChunkPayload())

    async def refuse() -> None:
        raise PermanentError("no such queue")

    with pytest.raises(PermanentError, match="no such queue"):
        await planning.plan(world.job, RUN, ChunkPayload(), dispatch=refuse)
    await world.ledger.finish_run(RUN, RunState.FAILED, reason="no such queue")
    await process_all(world)
    await world.succeeded(records=20)


async def test_a_run_that_the_ledger_has_lost(world: World) -> None:
    """Its plan and the database are enough: what is done is entered again, the rest is worked on."""
    await world.plan()
    await world.deliver(world.chunk("0"))
    world.ledger.table.runs.clear()
    world.ledger.table.chunks.clear()
    assert (await world.act("task_01", run_id=RUN))["snapshot_taken"] is False
    await process_all(world)
    await world.succeeded(records=20)


@pytest.mark.parametrize("action", [ActionName.TASK_01, ActionName.GET_CHUNKS, ActionName.TASK_02])
async def test_a_run_that_cannot_be_planned_has_failed(world: World, action: ActionName) -> None:
    """The next run of the job does not wait for it, it is announced, and it may be tried again."""
    refused = {ActionName.TASK_01: "prepare"}.get(action, "distribution")
    world.database.fail(refused, PermanentError("no such table"))
    if action is not ActionName.TASK_01:
        await world.act("task_01", run_id=RUN)
    await world.deliver(world.action(action, run_id=RUN, token=TOKEN))
    assert world.answers.told == {TOKEN: ("failed", "ActionFailed", "no such table")}
    assert ((await world.run()).state, world.facts()) == (RunState.FAILED, [("RunFailed", "no such table")])
    await world.act("task_01", run_id="run-2")
    await world.ledger.finish_run("run-2", RunState.FAILED, reason="given up")
    await world.act("task_01", run_id=RUN)
    await process_all(world)
    await world.succeeded(records=20)


async def test_a_failed_run_that_cannot_go_on_stays_failed(world: World) -> None:
    """It is not left open without anybody who works on its chunks."""
    await world.plan()
    await world.ledger.finish_run(RUN, RunState.FAILED, reason="overtaken")
    world.database.fail("present", PermanentError("permission denied"))
    with pytest.raises(PermanentError, match="permission denied"):
        await world.act("get_task02_chunks", run_id=RUN)
    assert ((await world.run()).state, (await world.run()).reason) == (RunState.FAILED, "overtaken")


async def test_a_run_under_way_is_not_ended_by_a_question(world: World) -> None:
    """Its chunks are dispatched already, whatever an action meets."""
    await world.plan()
    world.database.fail("present", PermanentError("permission denied"))
    with pytest.raises(PermanentError, match="permission denied"):
        await world.act("get_task02_chunks", run_id=RUN)
    assert ((await world.run()).state, world.facts()) == (RunState.RUNNING, [])


@pytest.mark.parametrize("action", ["task_01", "get_task02_chunks", "task_02"])
async def test_sizes_that_contradict_each_other(world: World, action: str) -> None:
    """They are refused before anything is done: no run is opened or ended, and no snapshot exchanged."""
    await world.act("task_01", run_id=RUN)
    request = {"action": action, "payload": {"chunk": {"target_rows": 10, "max_rows": 5}}}
    with pytest.raises(BadDeclarationError, match="max_rows 5 is less than target_rows 10"):
        await act_directly(world.ports(), request)
    assert (list(world.ledger.table.runs), world.database.snapshots[NAME]) == ([RUN], RUN)
    assert (await world.run()).state is RunState.PLANNING
