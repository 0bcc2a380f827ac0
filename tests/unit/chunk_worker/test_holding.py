"""Leases while work goes on, and what happens to work that is stopped."""

import asyncio
from dataclasses import replace

import pytest

from services.chunk_worker.ports import Ports, Work
from services.chunk_worker.use_case.holding import hold
from services.runtime.chunking.ports import ChunkState
from services.runtime.failures import LeaseHeldError, StaleLeaseError, UnreachableError
from services.runtime.leases import Lease
from tests.fakes.effects import Effects
from tests.fakes.leases import FakeLeases
from tests.unit.chunk_worker.world import RUN, TOKEN, World

SHORT_S = 0.03
RESOURCE = f"chunk:{RUN}/0"


@pytest.fixture
async def world() -> World:
    """A run of two chunks of two keys each, planned."""
    world = World()
    await world.plan()
    return world


class Working:
    """An update that lasts until it is told to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self, work: Work) -> None:
        """Work."""
        assert work.run_id == RUN
        self.begun.set()
        await self.end.wait()


async def renewals(world: World, number: int) -> None:
    """Wait until a lease was renewed so many times."""
    written: set[int] = set()
    while len(written) <= number:
        written.add(world.leases.records[RESOURCE].write_id)
        await asyncio.sleep(SHORT_S / 10)


async def test_the_lease_is_renewed_and_the_state_machine_hears_of_it(world: World) -> None:
    """As long as the work goes on."""
    working = Working()
    task = asyncio.ensure_future(
        world.deliver(world.chunk(token=TOKEN), ports=world.ports(working=working, ttl_s=SHORT_S))
    )
    await working.begun.wait()
    await renewals(world, 3)
    working.end.set()
    assert not (await task).failed
    assert world.answers.beats[TOKEN] >= 2
    assert world.leases.records[RESOURCE].owner is None, "it was given back"


async def test_a_lost_lease_stops_the_work(world: World) -> None:
    """Nothing is changed, the attempt does not count, and the message comes back."""
    working = Working()
    task = asyncio.ensure_future(world.deliver(world.chunk(), ports=world.ports(working=working, ttl_s=SHORT_S)))
    await working.begun.wait()
    world.clock.advance(1.0)
    await FakeLeases(world.clock, world.leases).acquire(RESOURCE, "other", 60.0)
    outcome = await task
    assert "no longer ours" in outcome.reasons["m0"]
    assert outcome.failed == {"m0": 5.0}
    assert world.database.row(RUN, "0").attempts == 0
    assert world.times_done() == {0}


async def test_a_lease_that_cannot_be_renewed_is_trusted_for_a_while(world: World) -> None:
    """Then the work is stopped, because another may have it."""

    def unreachable(place: str) -> None:
        if place.startswith("before renew"):
            world.clock.advance(SHORT_S / 3)
            raise UnreachableError("leases do not answer")

    async def work(_: Lease) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StaleLeaseError, match="no longer trusted"):
        await hold(world.ports(Effects(unreachable), ttl_s=SHORT_S), RESOURCE, work)


async def test_a_stopping_worker_gives_its_attempt_back(world: World) -> None:
    """Cancelled in the midst of an update it leaves the chunk as it was, and the lease free."""
    working = Working()
    task = asyncio.ensure_future(world.deliver(world.chunk(), ports=world.ports(working=working)))
    await working.begun.wait()
    assert world.database.row(RUN, "0").attempts == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.database.row(RUN, "0").attempts == 0
    assert world.leases.records[RESOURCE].owner is None
    assert not (await world.deliver(world.chunk(), receives=2)).failed
    assert (await world.entry()).state is ChunkState.DONE


async def test_a_held_lease_is_not_ours(world: World) -> None:
    """The work is not begun."""
    await FakeLeases(world.clock, world.leases).acquire(RESOURCE, "other", 60.0)
    with pytest.raises(LeaseHeldError):
        await hold(world.ports(), RESOURCE, _never)


async def test_a_failure_of_the_work_is_its_own(world: World) -> None:
    """It comes out as it is, and the lease is given back."""

    async def fail(_: Lease) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await hold(world.ports(), RESOURCE, fail)
    assert world.leases.records[RESOURCE].owner is None


async def test_every_acquisition_has_an_owner_of_its_own(world: World) -> None:
    """Two lanes of one process do not take one another for themselves."""
    ports: Ports = replace(world.ports(), owner="same")
    inner: list[str] = []

    async def note(lease: Lease) -> None:
        inner.append(lease.owner)
        if len(inner) == 1:
            with pytest.raises(LeaseHeldError):
                await hold(ports, RESOURCE, note)

    await hold(ports, RESOURCE, note)
    assert len(inner) == 1
    await hold(ports, RESOURCE, note)
    assert len(set(inner)) == 2


async def _never(_: Lease) -> None:
    raise AssertionError("not ours to begin")
