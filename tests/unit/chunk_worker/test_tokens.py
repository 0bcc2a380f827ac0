"""What a state machine that waits is told, and when."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.chunks import ActionName
from contracts.runs import RunState
from services.chunk_worker.ports import Health
from services.chunk_worker.use_case import work_batch
from services.runtime.chunking.ports import ChunkState
from services.runtime.deliveries import Delivery
from services.runtime.failures import TemporaryError, UnreachableError
from tests.fakes.effects import Effects
from tests.unit.chunk_worker.world import NAME, RUN, TOKEN, World, body, broken

WORDS = "sql/task_02_chunk.sql: division by zero"


@pytest.fixture
async def world() -> World:
    """A run of two chunks of two keys each, planned."""
    world = World()
    await world.plan()
    return world


async def test_success(world: World) -> None:
    """The outcome, and no message comes back."""
    assert not (await world.deliver(world.chunk(token=TOKEN))).failed
    outcome = {"chunk_id": "0", "run_id": RUN, "rows": 10, "rows_marked": 10, "seconds": 0.0, "parts": 0}
    assert world.answers.told == {TOKEN: ("succeeded", outcome)}


async def test_a_failed_attempt_is_the_state_machines_to_retry(world: World) -> None:
    """It is told ChunkRetry three times, each time by a token of its own; the fourth message splits the chunk."""
    world.database.fail("update 0", *broken(3))
    for number in range(4):
        world.answers.waiting.add(f"t{number}")
        assert not (await world.deliver(world.chunk(token=f"t{number}"))).failed
    told = [world.answers.told[f"t{number}"] for number in range(4)]
    assert told[:3] == [("failed", "ChunkRetry", WORDS)] * 3
    assert (told[3][0], told[3][1]["parts"]) == ("succeeded", 2)


async def test_a_chunk_that_has_failed(world: World) -> None:
    """It is told ChunkFailed, the ledger knows it, and nothing goes to the DLQ."""
    world.database.fail("update 0.2", *broken(1))
    world.database.row(RUN, "0").attempts = 3
    assert not (await world.deliver(world.chunk(token=TOKEN))).failed
    assert world.answers.told == {TOKEN: ("failed", "ChunkFailed", f"part 0.2: {WORDS}")}
    assert (await world.entry()).state is ChunkState.FAILED
    assert world.dead() == []


async def test_a_repetition_of_a_failed_chunk_that_nobody_waits_for(world: World) -> None:
    """The answer was given, and only the message was not deleted: the chunk is left as it is."""
    world.database.fail("update 0.2", *broken(1))
    world.database.row(RUN, "0").attempts = 3
    await world.deliver(world.chunk(token=TOKEN))
    assert not (await world.deliver(world.chunk(token=TOKEN), receives=2)).failed
    assert (await world.entry()).state is ChunkState.FAILED


async def test_a_failed_chunk_that_is_asked_for_again(world: World) -> None:
    """A new execution of the run's state machine gives it its attempts back."""
    world.database.fail("update 0.2", *broken(1))
    world.database.row(RUN, "0").attempts = 3
    await world.deliver(world.chunk(token=TOKEN))
    world.answers.waiting.add("again")
    await world.deliver(world.chunk(token="again"), world.chunk("1"))  # noqa: S106 - a name
    assert world.answers.told["again"][1]["rows"] == 10
    await world.succeeded(records=20)


async def test_a_paused_run(world: World) -> None:
    """It is told RunPaused and asks again by itself; without a token the message is dropped."""
    await world.ledger.pause_run(RUN, paused=True)
    assert not (await world.deliver(world.chunk(token=TOKEN), world.chunk("1"))).failed
    assert world.answers.told == {TOKEN: ("failed", "RunPaused", f"run {RUN} is paused")}
    assert world.times_done() == {0}
    await world.ledger.pause_run(RUN, paused=False)
    await world.deliver(world.chunk("0"), world.chunk("1"))
    await world.succeeded(records=20)


async def test_a_chunk_that_was_done_before_the_pause(world: World) -> None:
    """It is told so although the run is paused."""
    await world.deliver(world.chunk())
    await world.ledger.pause_run(RUN, paused=True)
    await world.deliver(world.chunk(token=TOKEN), receives=2)
    assert world.answers.told[TOKEN][0] == "succeeded"


async def test_a_cancelled_run(world: World) -> None:
    """It is told RunCancelled; without a token the message is dropped."""
    await world.ledger.finish_run(RUN, RunState.CANCELLED, reason="cancelled by an operator")
    assert not (await world.deliver(world.chunk(token=TOKEN), world.chunk("1"))).failed
    cause = f"run {RUN} has ended: cancelled, cancelled by an operator"
    assert world.answers.told == {TOKEN: ("failed", "RunCancelled", cause)}
    assert world.times_done() == {0}


async def test_a_run_that_was_overtaken(world: World) -> None:
    """Chunks of a run that has failed without them are dropped, with the run's reason."""
    await world.ledger.finish_run(RUN, RunState.FAILED, reason="overtaken by run run-2")
    assert not (await world.deliver(world.chunk(token=TOKEN), world.chunk("1"))).failed
    cause = f"run {RUN} has ended: failed, overtaken by run run-2"
    assert world.answers.told == {TOKEN: ("failed", "ChunkFailed", cause)}
    assert world.times_done() == {0}
    assert world.dead() == []


async def test_a_snooze_is_no_answer(world: World) -> None:
    """While the message waits for its turn the state machine hears that somebody is at it."""
    world.database.health = Health(None, 21, None)
    assert (await world.deliver(world.chunk(token=TOKEN))).failed == {"m0": 5.0}
    world.database.health = Health(None, 0, None)
    world.database.fail("update 0", TemporaryError("connection lost"))
    assert (await world.deliver(world.chunk(token=TOKEN))).failed == {"m0": 5.0}
    assert world.answers.told == {}
    assert world.answers.beats[TOKEN] == 2


async def test_an_answer_that_gets_lost_is_given_again(world: World) -> None:
    """A chunk that is done is answered for by the next delivery, and not done again."""
    failing = Effects(_raise_at("before answer succeeded"))
    assert "m0" in (await world.deliver(world.chunk(token=TOKEN), ports=world.ports(failing))).failed
    assert world.answers.told == {}
    await world.deliver(world.chunk(token=TOKEN), receives=2)
    assert world.answers.told[TOKEN][0] == "succeeded"
    await world.deliver(world.chunk("1"))
    await world.succeeded(records=20)


async def test_nobody_waits_any_more(world: World) -> None:
    """The chunk is done all the same, for it belongs to the run."""
    assert not (await world.deliver(world.chunk(token="forgotten"))).failed  # noqa: S106 - a name
    assert (await world.entry()).state is ChunkState.DONE


async def test_a_heartbeat_that_is_not_heard_stops_nothing(world: World) -> None:
    """The snooze goes on without it."""
    world.database.health = Health(None, 21, None)
    failing = Effects(_raise_at("before heartbeat"))
    assert (await world.deliver(world.chunk(token=TOKEN), ports=world.ports(failing))).failed == {"m0": 5.0}


async def test_mistakes_are_told(world: World) -> None:
    """An unknown job, run and chunk, each with the reason; without a token they go to the DLQ at once."""
    asked = {
        "there is no chunked job 'other' here; there are ['conflict_report']": world.chunk().model_copy(
            update={"pipeline": "other"}
        ),
        f"there is no run run-9 of {NAME}": world.chunk(run_id="run-9"),
        f"run {RUN} has no chunk 77": world.chunk("77"),
    }
    for number, (reason, command) in enumerate(asked.items()):
        token = f"t{number}"
        world.answers.waiting.add(token)
        outcome = await world.deliver(command.model_copy(update={"task_token": token}), command)
        assert not outcome.failed
        assert world.answers.told[token] == ("failed", "ChunkFailed", reason)
    assert [message.kind for message in world.dead()] == ["ProcessChunk"] * 3


async def test_keys_that_were_damaged(world: World) -> None:
    """The chunk fails at once, with the place."""
    stored = world.objects.buckets["state"].keys
    place = next(key for key in sorted(stored) if "/chunks/" in key)
    chunk_id = "0" if place.endswith(f"{(await _digest(world, '0'))}.json") else "1"
    await world.objects.put("state", place, b"{}")
    await world.deliver(world.chunk(chunk_id, token=TOKEN))
    assert world.answers.told == {
        TOKEN: ("failed", "ChunkFailed", f"s3://state/{place} is not what the plan of run {RUN} was made with")
    }
    assert (await world.entry(chunk_id)).state is ChunkState.FAILED


async def test_a_plan_that_is_gone(world: World) -> None:
    """The chunks fail, and with them the run."""
    await world.objects.delete("state", f"plans/{RUN}/plan.json")
    await world.deliver(world.chunk("0"), world.chunk("1"))
    assert (await world.run()).state is RunState.FAILED
    assert (await world.entry()).reason == f"run {RUN} has no plan"


async def _digest(world: World, chunk_id: str) -> str | None:
    plan = await world.ports().plans.find(RUN)
    assert plan is not None
    planned = plan.chunk(chunk_id)
    assert planned is not None
    return planned.sha256


def _raise_at(place: str) -> Callable[[str], None]:
    def hook(reached: str) -> None:
        if reached == place:
            raise UnreachableError(f"{place}: no answer")

    return hook


MISTAKES: list[dict[str, Any]] = [
    {"chunk": {"first_day": "2026-02-01", "last_day": "2026-01-01"}},
    {"chunk": {"target_rows": "many"}},
    {"chunk": None},
]


@pytest.mark.parametrize("payload", MISTAKES)
async def test_input_of_a_state_machine_that_makes_no_command(payload: dict[str, Any]) -> None:
    """It is told what is wrong, instead of waiting for an answer until its time is over."""
    world = World()
    command = json.loads(body(world.action(ActionName.VALIDATE_CONFIG, token=TOKEN)))
    command["body"]["payload"] = payload
    assert not (await work_batch(world.ports(), [Delivery("m0", json.dumps(command))])).failed
    kind, error, cause = world.answers.told[TOKEN]
    assert (kind, error) == ("failed", "ActionFailed")
    assert cause.startswith("RunAction is malformed: payload.chunk")


async def test_a_command_of_a_later_version_waits_for_it() -> None:
    """Nobody is told anything: the service may be in the midst of an upgrade."""
    world = World()
    command = json.loads(body(world.action(ActionName.VALIDATE_CONFIG, token=TOKEN)))
    command["schema_version"] = 99
    assert (await work_batch(world.ports(), [Delivery("m0", json.dumps(command))])).failed == {"m0": None}
    assert world.answers.told == {}
