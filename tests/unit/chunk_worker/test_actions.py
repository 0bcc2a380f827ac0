"""The seven actions, asked for directly and by a state machine."""

import json
from dataclasses import replace
from typing import Any

import pytest

from contracts.chunk_jobs import Copy, Statement
from contracts.chunks import ActionName
from contracts.runs import RunState
from services.chunk_worker.use_case import act_directly
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import (
    BadDeclarationError,
    MalformedError,
    PermanentError,
    TemporaryError,
)
from tests.fakes.job_databases import FakeAnalyticsSources
from tests.unit.chunk_worker.world import DECLARED, NAME, RUN, TOKEN, World, broken, declared


@pytest.fixture
def world() -> World:
    """Four keys of five rows, and nothing planned."""
    return World()


async def snapshot(world: World, run_id: str = RUN) -> None:
    """Task 01 of a run."""
    await world.act("task_01", run_id=run_id)


async def test_validate_config_names_the_place_and_no_secret(world: World) -> None:
    """Job, database, keys and files, as they were read."""
    details = await world.act("validate_config")
    assert (details["job"], details["database"]) == (NAME, f"database.example:5432/{NAME}")
    assert details["keys"] == {"VisitDate": "date", "SSN": "text"}
    assert "sql/task_02.sql" in details["files"]


async def test_validate_config_of_a_secret_that_is_not_there(world: World) -> None:
    """It fails with the reason."""
    world.database.fail("place", PermanentError("read secret x: there is no such secret"))
    with pytest.raises(PermanentError, match="no such secret"):
        await world.act("validate_config")


async def test_validate_config_of_a_copy_without_its_driver() -> None:
    """A job that takes its snapshot from elsewhere needs what that takes."""
    sql = DECLARED[NAME].job.sql
    copy = Copy(query=Statement(file="sql/task_01.sql"), into="conflictvisitmaps")
    world = World(job=declared({"sql": sql.model_copy(update={"prepare": [copy]}), "analytics": None}))
    with pytest.raises(BadDeclarationError, match="declares no analytics"):
        await world.act("validate_config")


async def test_both_databases_can_be_asked(world: World) -> None:
    """What they say of themselves."""
    assert "in memory, as nobody" in (await world.act("test_postgres"))["database"]
    assert await world.act("test_snowflake") == {"analytics": "analytics in memory, as nobody"}
    world.database.fail("check", TemporaryError("no answer in time"))
    with pytest.raises(TemporaryError, match="no answer in time"):
        await world.act("test_postgres")


async def test_phase_two_from_beginning_to_end(world: World) -> None:
    """Snapshot, chunk ids and nothing else, each chunk, and the run has ended."""
    first = await world.act("task_01")
    run_id = first["run_id"]
    assert run_id.startswith(f"{NAME}-20260101T000000-")
    assert (first["snapshot_taken"], first["first_day"], first["last_day"]) == (True, "2024-01-01", "2026-01-31")
    listed = await world.act("get_task02_chunks")
    assert listed == {"chunk_ids": ["0", "1"], "total_chunks": 2, "total_rows": 20, "run_id": run_id}
    for chunk_id in listed["chunk_ids"]:
        outcome = await world.act("process_task02_chunk", chunk_id=chunk_id)
        assert (outcome["chunk_id"], outcome["run_id"], outcome["rows"]) == (chunk_id, run_id, 10)
    assert (await world.run(run_id)).state is RunState.SUCCEEDED
    assert world.times_done(run_id) == {1}
    assert (await world.act("get_task02_chunks", run_id=run_id))["chunk_ids"] == []
    assert world.database.finished[run_id] == 1


async def test_phase_one_from_beginning_to_end(world: World) -> None:
    """Snapshot and the whole run in one statement; asked for again it does nothing."""
    await snapshot(world)
    assert await world.act("task_02") == {"run_id": RUN, "chunks": 1, "rows": 20, "seconds": 0.0}
    await world.succeeded(records=20)
    assert await world.act("task_02") == {"run_id": RUN, "chunks": 1, "rows": 20, "seconds": 0.0}
    assert (await world.act("task_01", run_id=RUN))["snapshot_taken"] is False
    await world.succeeded(records=20)


async def test_task_02_of_a_run_that_is_in_chunks(world: World) -> None:
    """It does what is left of them, one after the other."""
    await world.plan()
    await world.deliver(world.chunk("0"))
    assert (await world.act("task_02"))["chunks"] == 2
    await world.succeeded(records=20)


async def test_task_02_needs_a_statement_for_it() -> None:
    """A job may be one that is done in chunks only."""
    sql = DECLARED[NAME].job.sql.model_copy(update={"whole": None})
    world = World(job=declared({"sql": sql}))
    await snapshot(world)
    with pytest.raises(BadDeclarationError, match=r"declares no sql\.whole"):
        await world.act("task_02")


async def test_a_run_without_rows_ends_at_once() -> None:
    """There are no chunks, and the run has succeeded."""
    world = World(keys=0)
    await snapshot(world)
    assert (await world.act("get_task02_chunks"))["chunk_ids"] == []
    assert (await world.run()).state is RunState.SUCCEEDED
    await snapshot(world, "run-2")
    assert (await world.act("task_02"))["rows"] == 0
    assert (await world.run("run-2")).state is RunState.SUCCEEDED


async def test_asking_for_the_chunks_of_a_failed_run_lets_it_go_on(world: World) -> None:
    """Only those that are not done, and they have all their attempts again."""
    await world.plan()
    world.database.row(RUN, "0").attempts = 3
    world.database.fail("update 0.2", *broken(1))
    await world.deliver(world.chunk("0"), world.chunk("1"))
    assert (await world.run()).state is RunState.FAILED
    assert (await world.act("get_task02_chunks", run_id=RUN))["chunk_ids"] == ["0"]
    assert (await world.run()).state is RunState.RUNNING
    assert (await world.entry()).state is ChunkState.PLANNED
    await world.act("process_task02_chunk", run_id=RUN, chunk_id="0")
    await world.succeeded(records=20)


async def test_a_chunk_that_fails_directly(world: World) -> None:
    """Its caller is told when to ask again, and in the end that it has failed; nothing goes to the DLQ."""
    await world.plan()
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", *broken(1))
    for seconds in (2, 4, 8):
        with pytest.raises(TemporaryError, match=rf"division by zero \(ask again after {seconds} s\)"):
            await world.act("process_task02_chunk", chunk_id="0")
    with pytest.raises(PermanentError, match=r"part 0\.1: .*division by zero"):
        await world.act("process_task02_chunk", chunk_id="0")
    assert (await world.entry()).state is ChunkState.FAILED
    assert world.dead() == []


async def test_a_snapshot_is_not_taken_from_a_run_that_needs_it(world: World) -> None:
    """Another run waits its turn, until there has been no sign of life for long enough; who is held is never dead."""
    await snapshot(world)
    with pytest.raises(TemporaryError, match=f"run {RUN} of {NAME} has not ended yet"):
        await world.act("task_01", run_id="run-2")
    assert "run-2" not in world.ledger.table.runs, "nobody waits for it in turn"
    await world.act("get_task02_chunks")
    world.clock.advance(1_180)
    await world.deliver(world.chunk("0"))
    world.clock.advance(1_180)
    await world.ledger.pause_run(RUN, paused=True)
    world.clock.advance(10_000)
    with pytest.raises(TemporaryError, match="is paused: resume or cancel it"):
        await world.act("task_01", run_id="run-2")
    await world.ledger.pause_run(RUN, paused=False)
    with pytest.raises(TemporaryError, match="has not ended yet"):
        await world.act("task_01", run_id="run-2")
    world.clock.advance(1_231)
    await world.act("task_01", run_id="run-2")
    reason = "overtaken by run run-2: it showed no sign of life for 1,230 s"
    assert (await world.run()).reason == reason
    assert world.facts() == [("RunFailed", reason)]
    await world.act("task_02", run_id="run-2")
    assert world.times_done("run-2") == {1}


async def test_a_run_whose_snapshot_is_gone_cannot_go_on(world: World) -> None:
    """Its plan was made of another one."""
    await world.plan()
    world.database.snapshots[NAME] = "run-2"
    for action in ("task_01", "get_task02_chunks", "task_02"):
        with pytest.raises(PermanentError, match="run-2's"):
            await world.act(action, run_id=RUN)
    assert world.database.prepared[RUN] == 1


async def test_without_a_snapshot_there_is_nothing_to_do(world: World) -> None:
    """It is said which action comes first."""
    for action in ("get_task02_chunks", "task_02"):
        with pytest.raises(PermanentError, match="task_01"):
            await world.act(action)
        with pytest.raises(PermanentError, match=f"there is no run {RUN}"):
            await world.act(action, run_id=RUN)


async def test_a_run_that_failed_without_a_plan(world: World) -> None:
    """It is taken up again, and ends well."""
    world.database.fail("prepare", PermanentError("no such table"))
    with pytest.raises(PermanentError, match="no such table"):
        await snapshot(world)
    await world.ledger.finish_run(RUN, RunState.FAILED, reason="no such table")
    await snapshot(world)
    assert (await world.run()).state is RunState.PLANNING
    await world.act("task_02")
    await world.succeeded(records=20)


async def test_a_cancelled_run_is_left_alone(world: World) -> None:
    """Whatever is asked of it; a state machine is told RunCancelled."""
    await snapshot(world)
    await world.ledger.finish_run(RUN, RunState.CANCELLED)
    for action in ("task_01", "get_task02_chunks", "task_02"):
        with pytest.raises(PermanentError, match="was cancelled"):
            await world.act(action, run_id=RUN)
    await world.deliver(world.action(ActionName.GET_CHUNKS, run_id=RUN, token=TOKEN))
    assert world.answers.told == {TOKEN: ("failed", "RunCancelled", f"run {RUN} was cancelled")}


async def test_a_run_of_another_job_is_none_of_ours(world: World) -> None:
    """Its id is taken."""
    await world.ports().planning.open(DECLARED[NAME], RUN)
    world.ledger.table.runs[RUN] = replace(await world.run(), pipeline="other")
    for action in ("task_01", "get_task02_chunks"):
        with pytest.raises(PermanentError, match=f"run {RUN}"):
            await world.act(action, run_id=RUN)


async def test_a_state_machine_is_answered_with_the_result(world: World) -> None:
    """As JSON, with the run's id beside the details."""
    assert not (await world.deliver(world.action(ActionName.TASK_01, run_id=RUN, token=TOKEN))).failed
    kind, result = world.answers.told[TOKEN]
    assert (kind, result["action"], result["status"], result["run_id"]) == ("succeeded", "task_01", "success", RUN)
    assert json.dumps(result)


async def test_a_state_machine_is_told_what_cannot_be_done(world: World) -> None:
    """ActionFailed, which is not tried again; what is over after a while is no answer."""
    world.database.fail("prepare", TemporaryError("connection lost", delay=15.0), PermanentError("no such table"))
    command = world.action(ActionName.TASK_01, run_id=RUN, token=TOKEN)
    assert (await world.deliver(command)).failed == {"m0": 15.0}
    assert world.answers.told == {}
    assert world.answers.beats[TOKEN] == 1
    assert not (await world.deliver(command, receives=2)).failed
    assert world.answers.told == {TOKEN: ("failed", "ActionFailed", "no such table")}


class Talkative(FakeAnalyticsSources):
    """A database that says a great deal of itself."""

    async def check(self) -> str:
        """See the port."""
        return "x" * 300_000


async def test_a_result_that_no_state_machine_takes(world: World) -> None:
    """It is told so, instead of being asked again and again."""
    world.analytics = Talkative()
    assert not (await world.deliver(world.action(ActionName.TEST_SNOWFLAKE, token=TOKEN))).failed
    assert world.answers.told[TOKEN][:2] == ("failed", "ActionFailed")


async def test_a_state_machine_retries_the_whole_run_like_a_chunk(world: World) -> None:
    """ChunkRetry three times; what cannot be split fails at the fourth."""
    await snapshot(world)
    world.database.fail("update whole", *broken(4))
    for number in range(4):
        world.answers.waiting.add(f"t{number}")
        await world.deliver(world.action(ActionName.TASK_02, run_id=RUN, token=f"t{number}"))
    assert [world.answers.told[f"t{n}"][1] for n in range(4)] == [*["ChunkRetry"] * 3, "ChunkFailed"]
    assert (await world.run()).state is RunState.FAILED


async def test_a_chunk_as_an_action_of_a_state_machine(world: World) -> None:
    """The same work as by the other command, and its outcome."""
    await world.plan()
    await world.deliver(world.action(ActionName.PROCESS_CHUNK, run_id=RUN, chunk_id="0", token=TOKEN))
    assert world.answers.told[TOKEN][1]["details"]["rows"] == 10


async def test_an_action_that_nobody_waits_for(world: World) -> None:
    """Its failure goes to the DLQ, for there is nobody else to tell."""
    assert not (await world.deliver(world.action(ActionName.TASK_02, run_id=RUN))).failed
    assert [message.kind for message in world.dead()] == ["RunAction"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"action": "task_03"}, "there is no action 'task_03'; there are validate_config, test_postgres,"),
        ({"action": ["task_01"]}, "there is no action"),
        ({"action": "task_01", "job": "x"}, "an action has no job"),
        ({"action": "task_01", "payload": {"run": 1}}, "payload.run: Extra inputs are not permitted"),
        ({"action": "task_01", "payload": [1]}, "payload: Input should be"),
        ({"action": "task_01", "pipeline": 5}, "pipeline: Input should be a valid string"),
        ({"action": "task_01", "pipeline": "x"}, "there is no chunked job 'x' here"),
        ({"action": "process_task02_chunk"}, "process_task02_chunk needs a chunk_id"),
        ({"action": "task_01", "payload": {"chunk": {"first_day": "2030-01-01"}}}, "first day 2030-01-01 is after"),
    ],
)
async def test_mistakes_in_a_request(world: World, request_: dict[str, Any], words: str) -> None:
    """One line each, and nothing is begun."""
    with pytest.raises((MalformedError, BadDeclarationError), match=words):
        await act_directly(world.ports(), request_)
    assert not world.ledger.table.runs


async def test_one_of_several_jobs_must_be_named(world: World) -> None:
    """Which of them is not guessed."""
    ports = replace(world.ports(), jobs={NAME: world.job, "other": world.job})
    with pytest.raises(BadDeclarationError, match="name one of the chunked jobs"):
        await act_directly(ports, {"action": "validate_config"})


async def test_the_window_can_be_given(world: World) -> None:
    """Days of the payload are those of the snapshot and of the plan."""
    details = await world.act("task_01", run_id=RUN, chunk={"first_day": "2026-01-02", "last_day": "2026-01-03"})
    assert (details["first_day"], details["last_day"]) == ("2026-01-02", "2026-01-03")
    listed = await world.act("get_task02_chunks", chunk={"target_rows": 5})
    assert listed["total_chunks"] == 4
