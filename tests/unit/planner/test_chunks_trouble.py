"""Runs of chunked jobs when something is in their way: other runs, or a database that refuses or does not answer."""

import pytest

from contracts.chunks import ChunkPayload
from contracts.runs import RunMode, RunState
from services.planner.use_case.sweep import RUNS_SWEPT
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Run
from tests.unit.planner.chunking import ARCHIVE, PREVIEWED, REPORT, THREE, World, job, request, three_chunks


async def test_a_run_waits_for_the_one_before_it() -> None:
    """Of the same job, for as long as that gets on; runs of other jobs have nothing to do with it."""
    world = three_chunks()
    await world.plan("r1")
    outcome = await world.deliver(request("r2"))
    assert (outcome.delays, outcome.reasons) == ({"d": 15.0}, {"d": "run r1 of report has not ended yet"})
    assert "r2" not in world.ledger.table.runs
    await world.plan("other", name=ARCHIVE)
    world.tables.owner = "r1"
    for step in (world.chunks.chunk_started("r1", "0", "worker"), world.carry_out(world.run("r1"), "0")):
        world.clock.advance(899)
        await step
        assert (await world.deliver(request("r2"))).failed
    world.publisher.sent["chunk-jobs"].clear()
    await world.plan("r1", resume=True)
    await world.work()
    assert (await world.plan("r2")).state is RunState.RUNNING


async def test_a_run_that_stands_still_is_overtaken() -> None:
    """It ends as failed, so that nothing of it is begun any more, and says by whom."""
    world = three_chunks()
    await world.plan("r1")
    world.clock.advance(899)
    assert (await world.deliver(request("r2"))).failed
    world.clock.advance(1)
    assert (await world.plan("r2")).state is RunState.RUNNING
    reason = "overtaken by run r2: it showed no sign of life for 900 s"
    assert (world.run("r1").state, world.run("r1").reason) == (RunState.FAILED, reason)
    assert [(fact["run_id"], fact["reason"]) for fact in world.facts("RunFailed")] == [("r1", reason)]
    await world.work()
    assert (world.run("r1").settled, world.run("r2").state) == (0, RunState.SUCCEEDED)


async def test_a_long_statement_is_a_sign_of_life() -> None:
    """A run is not overtaken before two of its statements, one after the other, could have ended."""
    world = three_chunks(World([job(REPORT, statement_timeout_s=3600, **PREVIEWED)]))
    await world.plan("r1")
    world.clock.advance(7229)
    assert (await world.deliver(request("r2"))).failed
    world.clock.advance(1)
    assert (await world.plan("r2")).state is RunState.RUNNING


async def test_a_paused_run_is_never_overtaken() -> None:
    """Whoever holds it decides; until then no other run of the job begins."""
    world = three_chunks()
    await world.plan("r1")
    await world.ledger.pause_run("r1", paused=True)
    world.clock.advance(86_400)
    outcome = await world.deliver(request("r2"), receives=12)
    assert (outcome.reasons, outcome.delays) == ({"d": "run r1 of report is paused: resume or cancel it"}, {"d": 180.0})
    run = await world.plan("r2", receives=17)
    assert run.reason == "run r1 of report is paused: resume or cancel it (asked 17 times)"
    assert world.run("r1").state is RunState.RUNNING


async def test_a_paused_run_is_remembered_by_its_snapshot() -> None:
    """Also when so many runs of other pipelines are newer that the ledger's newest do not reach back to it."""
    world = three_chunks()
    await world.plan("r1")
    await world.ledger.pause_run("r1", paused=True)
    for number in range(RUNS_SWEPT + 1):
        world.clock.advance(60)
        started_at = world.clock.now().isoformat()
        await world.ledger.open_run(Run(f"x{number}", "other", RunMode.SCAN, RunState.SUCCEEDED, started_at))
    assert (await world.deliver(request("r2"))).reasons == {"d": "run r1 of report is paused: resume or cancel it"}
    assert world.tables.owner == "r1"
    await world.ledger.pause_run("r1", paused=False)
    world.clock.advance(901)
    assert (await world.plan("r2")).state is RunState.RUNNING
    assert [fact["run_id"] for fact in world.facts("RunFailed")] == ["r1"]


async def test_waiting_ends() -> None:
    """Before the queue gives the request up, its run fails and says what it waited for."""
    world = three_chunks()
    await world.plan("r1")
    assert (await world.deliver(request("r2"), receives=16)).failed
    run = await world.plan("r2", receives=17)
    assert (run.state, run.reason) == (RunState.FAILED, "run r1 of report has not ended yet (asked 17 times)")
    assert [run_id for run_id, _ in world.tables.taken] == ["r1"]


@pytest.mark.parametrize("question", ["prepare", "distribution", "register"])
async def test_a_database_that_refuses_fails_the_run(question: str) -> None:
    """With its own words; asked once more when it is cured, the run is planned after all."""
    world = three_chunks()
    world.tables.trouble[question] = PermanentError("sql/task_01.sql: column visits.ssn does not exist")
    for _ in range(2):
        run = await world.plan("r1")
        assert (run.state, run.reason) == (RunState.FAILED, "sql/task_01.sql: column visits.ssn does not exist")
    assert ([fact["reason"] for fact in world.facts("RunFailed")], world.commands()) == ([run.reason], [])
    world.tables.trouble.clear()
    run = await world.plan("r1")
    assert (run.state, run.planned, world.commands()) == (RunState.RUNNING, 3, THREE)
    assert len(world.tables.taken) == 1
    await world.work()
    assert world.run("r1").state is RunState.SUCCEEDED


async def test_sizes_that_contradict_each_other_fail_the_run() -> None:
    """They cost no other run its snapshot: what failed before can still go on."""
    world = three_chunks()
    await world.plan("r1")
    await world.work(failing=["1"])
    run = await world.plan("r2", chunk=ChunkPayload(target_rows=10, max_rows=5))
    assert (run.state, run.reason) == (RunState.FAILED, "max_rows 5 is less than target_rows 10")
    assert world.tables.owner == "r1"
    assert (await world.plan("r1", resume=True)).state is RunState.RUNNING


async def test_wrong_days_fail_the_run() -> None:
    """The reason names them."""
    world = World()
    run = await world.plan("r1", chunk=ChunkPayload.model_validate({"last_day": "2020-01-01"}))
    assert run.reason == "the run's first day 2025-01-01 is after its last day 2020-01-01"


@pytest.mark.parametrize("question", ["prepare", "distribution", "register", "finish"])
async def test_a_database_that_does_not_answer_is_asked_again(question: str) -> None:
    """As often as patience says, counted from the run's opening; then the run fails."""
    world = World()
    if question != "finish":
        three_chunks(world)
    world.tables.trouble[question] = TemporaryError("connect to db:5432: refused", delay=15)
    for receives in range(1, 10):
        outcome = await world.deliver(request("r1"), receives=receives)
        assert outcome.delays == {"d": 15}
    run = await world.plan("r1", receives=10)
    assert (run.state, run.reason) == (RunState.FAILED, "connect to db:5432: refused (asked 10 times)")
    assert len(world.tables.taken) <= 1


async def test_waiting_for_ones_turn_is_not_the_databases_fault() -> None:
    """A request that waited long for another run asks a database that is out for a moment more than once."""
    world = three_chunks()
    world.tables.trouble["prepare"] = TemporaryError("refused")
    assert (await world.deliver(request("r1"), receives=12)).failed
    world.tables.trouble.clear()
    assert (await world.plan("r1", receives=13)).state is RunState.RUNNING
