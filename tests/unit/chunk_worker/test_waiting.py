"""Chunks that cannot be worked on for a long time, through nobody's fault."""

import pytest

from contracts.runs import RunState
from contracts.topology import TOPOLOGY
from services.chunk_worker.ports import NoSlotError
from services.chunk_worker.use_case.attempt import SLOT_PATIENCE_S
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import TemporaryError
from tests.unit.chunk_worker.world import RUN, World

HOUR_S = 3_600


@pytest.fixture
async def world() -> World:
    """A run of two chunks, planned."""
    world = World()
    await world.plan()
    return world


def taken(times: int) -> list[Exception]:
    """No slot is free so many times."""
    return [NoSlotError("5 chunks are being updated, which is all it may", delay=0.0) for _ in range(times)]


async def test_a_worker_waits_for_a_slot_with_the_chunk_in_hand(world: World) -> None:
    """The chunk is claimed once, and its message is received once, however often slots are asked for."""
    world.database.fail("update 0", *taken(150))
    assert not (await world.deliver(world.chunk("0"))).failed
    assert (await world.entry("0")).state is ChunkState.DONE
    assert world.database.row(RUN, "0").attempts == 1


async def test_waiting_for_a_slot_ends(world: World) -> None:
    """After a while the message is given back, and the attempt does not count."""

    async def working(_: object) -> None:
        world.clock.advance(SLOT_PATIENCE_S)

    world.database.fail("update 0", *taken(150))
    outcome = await world.deliver(world.chunk("0"), ports=world.ports(working=working, ttl_s=1_000))
    assert outcome.failed == {"m0": 0.0}
    assert world.database.row(RUN, "0").attempts == 0


async def test_the_wait_for_a_slot_is_not_the_chunks_own_time(world: World) -> None:
    """Rows per second are those of the update."""

    async def working(_: object) -> None:
        world.clock.advance(2)

    world.database.fail("update 0", *taken(10))
    await world.deliver(world.chunk("0"), ports=world.ports(working=working))
    assert (await world.entry("0")).seconds == 2


async def test_a_long_outage_does_not_use_up_a_message(world: World) -> None:
    """A chunk of a database that is away for hours still comes back: its message must not go to the DLQ unnoticed."""
    most = TOPOLOGY.queue("chunk-jobs").max_receives
    world.database.fail("update 0", *[TemporaryError("connection refused", delay=15.0)] * most)
    waited = []
    for receives in range(1, most):
        outcome = await world.deliver(world.chunk("0"), receives=receives)
        waited.append(outcome.failed["m0"] or 0)
    assert waited[:10] == [15.0] * 10, "a restart is soon over"
    assert max(waited) < 600, "a state machine gives up what it does not hear of"
    assert sum(waited) > 6 * HOUR_S
    assert (await world.run()).state is RunState.RUNNING
