"""Runs of chunked jobs that go on: failed, cancelled, paused, and those that cannot any more."""

from dataclasses import replace

import pytest

from contracts.runs import RunState
from services.runtime.failures import PermanentError, TemporaryError
from tests.fakes.effects import Effects
from tests.unit.planner.chunking import REPORT, THREE, request, three_chunks


async def test_a_failed_run_goes_on_with_what_is_left() -> None:
    """Chunks that failed get their attempts back; those that are done stay so, and no snapshot is taken again."""
    world = three_chunks()
    await world.plan("r1")
    await world.work(failing=["1"])
    assert world.run("r1").reason == "1 of 3 chunks failed: 1: division by zero"
    world.keys(1)
    run = await world.plan("r1")
    assert (run.state, run.failed, run.settled, world.commands()) == (RunState.RUNNING, 0, 2, [("r1", "1")])
    assert (world.tables.retried, len(world.tables.taken)) == ([("r1", ("1",))], 1)
    await world.work()
    assert (world.run("r1").state, [fact["records"] for fact in world.facts("RunCompleted")]) == (
        RunState.SUCCEEDED,
        [30],
    )


async def test_a_cancelled_run_goes_on_only_if_somebody_says_so() -> None:
    """A repetition of its first request leaves it alone."""
    world = three_chunks()
    await world.plan("r1")
    await world.ledger.finish_run("r1", RunState.CANCELLED, reason="cancelled by an operator")
    await world.work()
    assert (await world.plan("r1", receives=2)).state is RunState.CANCELLED
    assert world.commands() == []
    assert (await world.plan("r1", resume=True)).state is RunState.RUNNING
    assert world.commands() == THREE
    await world.work()
    assert world.run("r1").state is RunState.SUCCEEDED


async def test_a_paused_run_goes_on_with_what_is_left() -> None:
    """Its dropped chunks are asked for again, however often somebody resumes it."""
    world = three_chunks()
    await world.plan("r1")
    await world.carry_out(world.run("r1"), "0")
    await world.ledger.pause_run("r1", paused=True)
    await world.work()
    await world.plan("r1")
    assert (world.run("r1").paused, world.commands()) == (True, [])
    run = await world.plan("r1", resume=True)
    assert (run.paused, world.commands()) == (False, THREE[1:])
    await world.plan("r1", resume=True)
    await world.work()
    assert (world.run("r1").state, world.run("r1").settled) == (RunState.SUCCEEDED, 3)


async def test_a_run_that_has_the_snapshot_does_not_wait() -> None:
    """Whoever was opened meanwhile waits for it: two that waited for one another would both stand still."""
    world = three_chunks()
    await world.plan("r1")
    await world.ledger.pause_run("r1", paused=True)
    await world.work()
    planning = world.planner().chunked
    assert planning is not None
    await planning.planning.open(planning.jobs[REPORT], "r2")
    assert (await world.plan("r1", resume=True)).paused is False
    await world.work()
    assert world.run("r1").state is RunState.SUCCEEDED
    await world.plan("r2", receives=2)
    assert (await world.plan("r1", resume=True)).state is RunState.SUCCEEDED


async def test_a_run_that_succeeds_meanwhile_does_not_fail() -> None:
    """Its last chunk is done while somebody who resumes it meets a database that refuses."""
    world = three_chunks()
    await world.plan("r1")

    def last_chunk_is_done(place: str) -> None:
        if place == "ask present_run":
            world.ledger.table.runs["r1"] = replace(world.run("r1"), state=RunState.SUCCEEDED)

    world.tables.trouble["present_run"] = PermanentError("too many connections")
    assert not (await world.deliver(request("r1", resume=True), effects=Effects(last_chunk_is_done))).failed
    assert (world.run("r1").state, world.facts("RunFailed")) == (RunState.SUCCEEDED, [])


async def test_resuming_a_run_that_is_being_planned_leaves_that_to_its_request() -> None:
    """Only the first request knows its days; whoever resumes merely lets it go on."""
    world = three_chunks()
    world.tables.trouble["distribution"] = TemporaryError("refused")
    assert (await world.deliver(request("r1"))).failed
    await world.ledger.pause_run("r1", paused=True)
    world.tables.trouble.clear()
    run = await world.plan("r1", resume=True)
    assert (run.state, run.paused, world.commands()) == (RunState.PLANNING, False, [])
    assert (await world.plan("r1", receives=2)).state is RunState.RUNNING


async def test_resuming_what_has_succeeded_changes_nothing() -> None:
    """There is nothing left of it, and nothing to ask its database."""
    world = three_chunks()
    await world.plan("r1")
    await world.work()
    world.tables.trouble["present_run"] = TemporaryError("refused")
    assert (await world.plan("r1", resume=True)).state is RunState.SUCCEEDED
    assert world.commands() == []


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED, RunState.RUNNING])
async def test_a_run_whose_snapshot_is_gone_cannot_go_on(state: RunState) -> None:
    """The reason says whose it is now; the other run is left alone."""
    world = three_chunks()
    await world.plan("r1")
    if state is not RunState.RUNNING:
        await world.ledger.finish_run("r1", state, reason="once")
    world.publisher.sent["chunk-jobs"].clear()
    world.tables.owner = "r2"
    run = await world.plan("r1", resume=True)
    reason = "the snapshot is run r2's now: run r1 cannot go on; start a new one"
    assert (run.state, run.reason, world.commands()) == (RunState.FAILED, reason, [])
    assert [fact["reason"] for fact in world.facts("RunFailed")] == [reason]


async def test_a_repetition_keeps_the_reason_of_a_failure() -> None:
    """Nobody asked for the run to go on, and it cannot: why it failed in the first place is worth more."""
    world = three_chunks()
    await world.plan("r1")
    await world.work(failing=["0", "1", "2"])
    world.tables.owner = "r2"
    run = await world.plan("r1")
    assert [fact["reason"] for fact in world.facts("RunFailed")] == [run.reason]
    assert run.reason == ("3 of 3 chunks failed: 0: division by zero; 1: division by zero; 2: division by zero")


async def test_a_run_that_goes_on_waits_for_its_turn() -> None:
    """Another run that has not taken its snapshot yet goes first."""
    world = three_chunks()
    await world.plan("r1")
    await world.work(failing=["0"])
    world.tables.trouble["prepare"] = TemporaryError("refused")
    await world.deliver(request("r2"))
    world.tables.trouble.clear()
    outcome = await world.deliver(request("r1", resume=True), receives=12)
    assert outcome.reasons == {"d": "run r2 of report has not ended yet"}
    await world.plan("r2", receives=2)
    await world.work()
    assert (await world.plan("r1", resume=True)).reason == (
        "the snapshot is run r2's now: run r1 cannot go on; start a new one"
    )
