from dataclasses import replace

import pytest

from contracts.chunks import ChunkOutcome
from contracts.runs import RunState
from services.chunk_worker.ports import Health, TableState
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import PermanentError, TemporaryError
from tests.fakes.effects import Effects
from tests.unit.chunk_worker.world import NAME, RUN, TOKEN, World, broken, declared


@pytest.fixture
async def world() -> World:
    """A run of two chunks of two keys each, planned."""
    world = World()
    await world.plan()
    return world


async def test_the_last_chunk_ends_the_run(world: World) -> None:
    """Each chunk is done once, and the run's end is announced after the last of them."""
    assert not (await world.deliver(world.chunk("0"))).failed
    assert (await world.run()).state is RunState.RUNNING
    assert not (await world.deliver(world.chunk("1"))).failed
    await world.succeeded(records=20)
    assert world.facts() == [("RunCompleted", "")]
    assert world.database.finished[RUN] == 1
    entry = await world.entry("1")
    assert (entry.updated, entry.worker, entry.marked) == (10, "worker-1", 10)


async def test_a_batch_is_worked_on_side_by_side(world: World) -> None:
    """Chunks that arrive together are both done."""
    assert not (await world.deliver(world.chunk("0"), world.chunk("1"))).failed
    await world.succeeded(records=20)


async def test_a_repetition_changes_nothing(world: World) -> None:
    """A message of a chunk that is done is dropped, before and after the run has ended."""
    for _ in range(2):
        await world.deliver(world.chunk("0"))
    await world.deliver(world.chunk("1"))
    await world.deliver(world.chunk("1"), world.chunk("0"))
    await world.succeeded(records=20)
    assert len(world.facts()) == 1


async def test_what_the_ledger_missed_is_entered_by_the_next_delivery(world: World) -> None:
    """A chunk that only the database knows as done is entered with its rows, and those that were gone."""
    world.database.gone[world.database.keys[0].values] = 2
    row = world.database.row(RUN, "0")
    row.state, row.updated_rows, row.attempts, row.token = TableState.DONE, 8, 1, 1
    await world.deliver(world.chunk("0"))
    entry = await world.entry("0")
    assert (entry.state, entry.updated, entry.gone) == (ChunkState.DONE, 8, 2)
    assert world.database.done.total() == 0


async def test_deleted_rows_are_accounted_for(world: World) -> None:
    """Rows that were deleted since the snapshot count as gone, and the run balances."""
    world.database.gone[world.database.keys[0].values] = 3
    for chunk_id in ("0", "1"):
        await world.deliver(world.chunk(chunk_id))
    await world.succeeded(records=17)
    assert (await world.entry("0")).gone == 3


async def test_a_failed_attempt_comes_again_later_each_time(world: World) -> None:
    """Three attempts, after which the message comes back in 2, 4 and 8 seconds."""
    world.database.fail("update 0", *broken(3))
    delays = [(await world.deliver(world.chunk("0"), receives=n)).failed["m0"] for n in (1, 2, 3)]
    assert delays == [2.0, 4.0, 8.0]
    assert world.database.row(RUN, "0").attempts == 3
    assert (await world.entry("0")).state is ChunkState.PLANNED


async def test_the_fourth_attempt_splits_the_chunk(world: World) -> None:
    """What fails three times is done in two parts, and the chunk is then done."""
    world.database.fail("update 0", *broken(3))
    assert await world.drive(world.chunk("0")) == 4
    assert world.database.row(RUN, "0").state is TableState.SPLIT
    assert [world.database.row(RUN, f"0.{n}").state for n in (1, 2)] == [TableState.DONE, TableState.DONE]
    entry = await world.entry("0")
    assert (entry.state, entry.updated, entry.parts) == (ChunkState.DONE, 10, 2)
    await world.deliver(world.chunk("1"))
    await world.succeeded(records=20)


async def test_a_part_that_fails_fails_the_chunk(world: World) -> None:
    """The other part is done all the same, the chunk goes to the DLQ, and its siblings go on."""
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", *broken(1))
    assert await world.drive(world.chunk("0")) == 4
    assert world.database.row(RUN, "0.2").state is TableState.DONE
    entry = await world.entry("0")
    assert (entry.state, entry.reason) == (
        ChunkState.FAILED,
        "part 0.1: sql/task_02_chunk.sql: division by zero",
    )
    assert [message.body["chunk_id"] for message in world.dead()] == ["0"]
    assert (await world.run()).state is RunState.RUNNING
    await world.deliver(world.chunk("1"))
    assert (await world.run()).state is RunState.FAILED
    assert [kind for kind, _ in world.facts()] == ["RunFailed"]


async def test_what_comes_back_from_the_dlq_is_tried_again(world: World) -> None:
    """A redriven chunk gets its attempts back, what was done of it stays done, and the run ends well after all."""
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", *broken(1))
    await world.drive(world.chunk("0"))
    await world.deliver(world.chunk("1"))
    assert (await world.run()).state is RunState.FAILED
    await world.drive(world.chunk("0"))
    await world.succeeded(records=20)
    assert (await world.entry("0")).parts == 2


async def test_a_run_that_fails_while_its_chunk_is_opened_again(world: World) -> None:
    """Another chunk found all of them ended at that moment: the run goes on all the same."""
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", *broken(1))
    await world.drive(world.chunk("0"))

    def ends_meanwhile(place: str) -> None:
        if place == f"before reopened chunk {RUN}/0":
            run = world.ledger.table.runs[RUN]
            world.ledger.table.runs[RUN] = replace(run, state=RunState.FAILED, reason="1 of 2 chunks failed")

    await world.deliver(world.chunk("1"))
    world.database.fail("update 0.1", TemporaryError("connection lost"))
    assert (await world.deliver(world.chunk("0"), ports=world.ports(Effects(ends_meanwhile)))).failed
    await world.drive(world.chunk("0"), receives=2)
    await world.succeeded(records=20)


async def test_a_failed_chunk_whose_snapshot_is_gone_is_not_opened_again(world: World) -> None:
    """Its run stays as it ended, and is not announced a second time; the message goes back to the DLQ."""
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", *broken(1))
    await world.drive(world.chunk("0"))
    await world.drive(world.chunk("1"))
    ended, facts = await world.run(), world.facts()
    world.database.snapshots[NAME] = "run-2"
    assert not (await world.deliver(world.chunk("0"))).failed
    assert (await world.run(), world.facts()) == (ended, facts)
    assert ((await world.entry()).state, len(world.dead())) == (ChunkState.FAILED, 2)


async def test_a_single_key_is_tried_once_more_instead() -> None:
    """What cannot be split fails at its fourth attempt."""
    world = World(keys=1)
    await world.plan()
    world.database.fail("update 0", *broken(4))
    assert await world.drive(world.chunk("0")) == 4
    assert (await world.entry("0")).state is ChunkState.FAILED
    assert len(world.dead()) == 1


async def test_workers_that_die_count_as_attempts() -> None:
    """A chunk that was claimed four times without an end is not tried a fifth time in one piece."""
    world = World(keys=1)
    await world.plan()
    world.database.row(RUN, "0").attempts = 4
    await world.deliver(world.chunk("0"))
    entry = await world.entry("0")
    assert (entry.state, world.times_done()) == (ChunkState.FAILED, {0})
    assert "died" in str(entry.reason)


async def test_a_part_outlives_one_dead_worker(world: World) -> None:
    """A part is tried again where its worker died in the midst of it, and given up after the second."""
    world.database.fail("update 0", *broken(3))
    world.database.fail("update 0.1", TemporaryError("the server restarts"))
    ports = world.ports()
    for receives in range(1, 5):
        await world.deliver(world.chunk("0"), receives=receives, ports=ports)
    assert world.database.row(RUN, "0.1").attempts == 0, "the server was to blame"
    for attempts, state in ((2, ChunkState.FAILED), (1, ChunkState.DONE)):
        world.database.row(RUN, "0.1").attempts = attempts
        await world.deliver(world.chunk("0"), receives=5)
        assert (await world.entry("0")).state is state


async def test_the_database_may_be_away_for_a_while(world: World) -> None:
    """An attempt that the server broke off does not count."""
    world.database.fail("update 0", *[TemporaryError("connection lost", delay=15) for _ in range(6)])
    assert await world.drive(world.chunk("0")) == 7
    assert world.database.row(RUN, "0").attempts == 1
    assert (await world.entry("0")).state is ChunkState.DONE


async def test_an_attempt_that_cannot_be_given_back_counts(world: World) -> None:
    """The message comes back all the same."""
    world.database.fail("update 0", TemporaryError("connection lost"))
    world.database.fail("blameless 0", TemporaryError("still lost"))
    assert (await world.deliver(world.chunk("0"))).failed == {"m0": 5.0}
    assert world.database.row(RUN, "0").attempts == 1


async def test_a_claim_that_is_refused_fails_the_chunk_in_the_end(world: World) -> None:
    """Where no attempt can be counted the message's receives count."""
    world.database.fail("claim 0", *[PermanentError("permission denied for table tidegate_chunks") for _ in range(8)])
    assert await world.drive(world.chunk("0")) == 4
    assert (await world.entry("0")).state is ChunkState.FAILED


async def test_marks_are_for_people_only(world: World) -> None:
    """A chunk whose rows cannot be marked is done without that, in the same attempt."""
    world.database.fail("mark 0", PermanentError("statement timeout"))
    assert not (await world.deliver(world.chunk("0"))).failed
    entry = await world.entry("0")
    assert (entry.state, entry.marked) == (ChunkState.DONE, 0)
    assert world.database.row(RUN, "0").attempts == 1


async def test_a_busy_database_is_left_alone(world: World) -> None:
    """Over a limit the chunk is held back, longer each time, and nothing is claimed."""
    world.database.health = Health(None, 21, None)
    outcomes = [await world.deliver(world.chunk("0"), receives=n) for n in (1, 2, 3, 40)]
    assert [outcome.failed["m0"] for outcome in outcomes] == [5.0, 10.0, 20.0, 300.0]
    assert "21 sessions wait for a lock, and the limit is 20" in outcomes[0].reasons["m0"]
    assert world.database.row(RUN, "0").attempts == 0
    world.database.health = Health(None, 20, None)
    assert not (await world.deliver(world.chunk("0"))).failed


async def test_a_database_that_refuses_to_say_how_it_does(world: World) -> None:
    """Three times it is asked again; then the chunk has failed."""
    world.database.fail("health", *[PermanentError("password authentication failed") for _ in range(4)])
    assert await world.drive(world.chunk("0")) == 4
    assert (await world.entry("0")).reason == "password authentication failed"


async def test_a_job_without_limits_is_not_measured() -> None:
    """Nobody asks how its database does."""
    health = declared().job.health.model_copy(
        update={"replication_lag_s": None, "lock_waits": None, "dead_tuple_ratio": None}
    )
    world = World(job=declared({"health": health}))
    await world.plan()
    world.database.fail("health", PermanentError("never asked"))
    assert not (await world.deliver(world.chunk("0"))).failed


async def test_a_chunk_in_other_hands_comes_back(world: World) -> None:
    """Who finds the lease taken tries again before long, and not before."""
    await world.ports().leases.acquire(f"chunk:{RUN}/0", "other", 600.0)
    delays = [(await world.deliver(world.chunk("0"), receives=n)).failed["m0"] for n in (1, 3, 10)]
    assert delays == [5.0, 20.0, 30.0]
    assert world.database.row(RUN, "0").attempts == 0


async def test_a_younger_holder_wins(world: World) -> None:
    """A claim that another has overtaken is refused, and the message comes back to find the chunk done."""
    world.database.row(RUN, "0").token = 7
    outcome = await world.deliver(world.chunk("0"))
    assert outcome.failed == {"m0": 5.0}
    assert "token 7" in outcome.reasons["m0"]


async def test_a_zombie_is_refused_by_the_fence(world: World) -> None:
    """Who was overtaken while it worked changes nothing."""

    async def overtaken(_: object) -> None:
        world.database.row(RUN, "0").token = 9

    outcome = await world.deliver(world.chunk("0"), ports=world.ports(working=overtaken))
    assert outcome.failed == {"m0": 5.0}
    assert world.times_done() == {0}


async def test_another_run_has_the_snapshot(world: World) -> None:
    """Chunks of a run whose snapshot is gone fail at once, with the reason."""
    world.database.snapshots[NAME] = "run-2"
    await world.deliver(world.chunk("0"), world.chunk("1"))
    assert (await world.entry("0")).reason == "the snapshot is run run-2's now: nothing more can be done for run run-1"
    assert (await world.run()).state is RunState.FAILED
    await world.deliver(world.chunk("0"))
    assert (await world.run()).state is RunState.FAILED, "a redrive does not help"
    assert len(world.dead()) == 3


async def test_the_whole_run_in_one_chunk() -> None:
    """A chunk without keys is all keys; it is never marked."""
    world = World(job=declared(mark_after_s=0))
    await world.plan(whole=True)
    await world.deliver(world.chunk("whole"))
    await world.succeeded(records=20)
    assert (await world.entry("whole")).marked == 0


async def test_the_outcome_of_a_split_chunk_with_its_token(world: World) -> None:
    """A state machine is told what became of all parts together."""
    row = world.database.row(RUN, "0")
    row.attempts = 3
    await world.deliver(world.chunk("0", token=TOKEN))
    outcome = ChunkOutcome(chunk_id="0", run_id=RUN, rows=10, parts=2)
    assert world.answers.told == {TOKEN: ("succeeded", outcome.model_dump(mode="json"))}
