"""What every implementation of the Leases port does (docs/leases.md)."""

import asyncio

import pytest

from services.runtime.failures import LeaseHeldError, StaleLeaseError
from services.runtime.leases import TRUST, Lease, held
from tests.conformance.lease_worlds import InMemory, OnDynamo, World
from tests.fakes.clock import ManualClock
from tests.fakes.network import ScriptedNetwork

TTL_S = 10.0
TRUSTED_S = TRUST * TTL_S
R = "checkpoint:events"


class LeasesConformance:
    """Subclasses give a ``world`` fixture."""

    async def test_first_grant(self, world: World) -> None:
        """A free lease is granted with token 1 and trusted for TRUST of its TTL from the start of the call."""
        clock = ManualClock(world.time, boot_s=500)
        lease = await world.open(clock, ScriptedNetwork()).acquire(R, "a", TTL_S)
        assert lease == Lease(R, "a", 1, lease.trusted_until)
        assert lease.trusted_until == pytest.approx(500 + TRUSTED_S)
        clock.advance(TRUSTED_S - 0.001)
        lease.check(clock)
        clock.advance(0.001)
        with pytest.raises(StaleLeaseError):
            lease.check(clock)

    async def test_held(self, world: World) -> None:
        """While one owner holds it, another is told for how long, and changes nothing."""
        holder, waiter = world.process(), world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        world.time.advance(4)
        with pytest.raises(LeaseHeldError) as refused:
            await waiter.acquire(R, "b", 60)
        assert refused.value.delay == pytest.approx(6)
        assert (await holder.renew(lease, TTL_S)).token == 1

    async def test_expiry(self, world: World) -> None:
        """It can be taken a TTL after it was granted, not a moment sooner, with the next token."""
        await world.process().acquire(R, "a", TTL_S)
        world.time.advance(TTL_S - 0.001)
        with pytest.raises(LeaseHeldError):
            await world.process().acquire(R, "b", TTL_S)
        world.time.advance(0.001)
        assert (await world.process().acquire(R, "b", TTL_S)).token == 2

    async def test_release_keeps_the_token(self, world: World) -> None:
        """A released lease is free at once, and its tokens go on where they were."""
        leases = world.process()
        for token in (1, 2, 3):
            lease = await leases.acquire(R, f"owner-{token}", TTL_S)
            assert lease.token == token
            await leases.release(lease)
            await leases.release(lease)

    async def test_release_of_a_lost_lease(self, world: World) -> None:
        """Releasing what is no longer ours leaves the new holder alone."""
        late, current = world.process(), world.process()
        old = await late.acquire(R, "a", TTL_S)
        world.time.advance(TTL_S)
        new = await current.acquire(R, "b", TTL_S)
        await late.release(old)
        assert (await current.renew(new, TTL_S)).token == 2

    async def test_renewal(self, world: World) -> None:
        """A renewal extends belief and expiry from its own start, and keeps the token."""
        holder = world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        world.time.advance(6)
        renewed = await holder.renew(lease, TTL_S)
        assert renewed.token == 1
        assert renewed.trusted_until == pytest.approx(6 + TRUSTED_S)
        world.time.advance(TTL_S - 0.001)
        with pytest.raises(LeaseHeldError):
            await world.process().acquire(R, "b", TTL_S)

    async def test_renewal_after_expiry(self, world: World) -> None:
        """An expired lease cannot be renewed, whether or not somebody else has it by now."""
        holder = world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        world.time.advance(TTL_S)
        with pytest.raises(StaleLeaseError):
            await holder.renew(lease, TTL_S)
        await world.process().acquire(R, "b", TTL_S)
        with pytest.raises(StaleLeaseError):
            await holder.renew(lease, TTL_S)

    async def test_renewal_after_release(self, world: World) -> None:
        """A released lease does not come back to life."""
        holder = world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        await holder.release(lease)
        with pytest.raises(StaleLeaseError):
            await holder.renew(lease, TTL_S)

    async def test_same_owner_again(self, world: World) -> None:
        """A repeated acquisition finds its own grant as it was granted: same token, same end of belief."""
        holder = world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        world.time.advance(3)
        assert await holder.acquire(R, "a", TTL_S) == lease

    async def test_same_owner_elsewhere(self, world: World) -> None:
        """Two processes that were given one owner name are still two holders."""
        await world.process().acquire(R, "message-7", TTL_S)
        with pytest.raises(LeaseHeldError):
            await world.process().acquire(R, "message-7", TTL_S)

    async def test_resources_are_independent(self, world: World) -> None:
        """Each resource has its own holder and its own tokens."""
        leases = world.process()
        await leases.acquire(R, "a", TTL_S)
        assert (await leases.acquire("another", "b", TTL_S)).token == 1

    async def test_race(self, world: World) -> None:
        """Of twenty who try at once, exactly one is granted the lease."""
        tries = (world.process().acquire(R, f"owner-{n}", TTL_S) for n in range(20))
        results = await asyncio.gather(*tries, return_exceptions=True)
        granted = [result for result in results if isinstance(result, Lease)]
        assert [lease.token for lease in granted] == [1]
        assert sum(isinstance(result, LeaseHeldError) for result in results) == 19

    async def test_held_block(self, world: World) -> None:
        """The block's lease is given back whatever happens inside."""
        leases = world.process()
        with pytest.raises(ZeroDivisionError):
            async with held(leases, R, "a", TTL_S):
                raise ZeroDivisionError
        assert (await leases.acquire(R, "b", TTL_S)).token == 2


class TestFakeLeases(InMemory, LeasesConformance):
    """The fake keeps the promises."""


class TestDynamoLeases(OnDynamo, LeasesConformance):
    """So does the adapter."""
