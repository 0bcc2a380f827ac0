"""What every implementation of the Leases port does when answers, requests and clocks go wrong (docs/leases.md)."""

import asyncio

import pytest

from services.runtime.failures import LeaseHeldError, StaleLeaseError, UnreachableError
from services.runtime.leases import TRUST, Lease
from tests.conformance.lease_worlds import InMemory, OnDynamo, World
from tests.fakes.clock import ManualClock
from tests.fakes.network import Fate, GatedNetwork, Passage, ScriptedNetwork

TTL_S = 10.0
TRUSTED_S = TRUST * TTL_S
SKEW_S = 2.0
R = "checkpoint:events"
YEAR_S = 365 * 86_400.0


class LeaseTroubleConformance:
    """Subclasses give a ``world`` fixture."""

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.REPEATED])
    async def test_ambiguous_success(self, world: World, fate: Fate) -> None:
        """A grant, renewal or release whose answer was lost, or that the SDK sent twice, counts once as done."""
        network = ScriptedNetwork()
        holder = world.process(network)
        network.next(fate)
        lease = await holder.acquire(R, "a", TTL_S)
        assert lease.token == 1
        assert lease.trusted_until == pytest.approx(TRUSTED_S)
        world.time.advance(5)
        network.next(fate)
        renewed = await holder.renew(lease, TTL_S)
        assert renewed.token == 1
        assert renewed.trusted_until == pytest.approx(5 + TRUSTED_S)
        network.next(fate)
        await holder.release(renewed)
        assert (await world.process().acquire(R, "b", TTL_S)).token == 2

    async def test_failed_request(self, world: World) -> None:
        """A request that never arrived raises, uses no token, and may be repeated."""
        network = ScriptedNetwork()
        holder = world.process(network)
        network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await holder.acquire(R, "a", TTL_S)
        lease = await holder.acquire(R, "a", TTL_S)
        assert lease.token == 1
        network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await holder.renew(lease, TTL_S)
        network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await holder.release(lease)
        await holder.release(lease)
        assert (await world.process().acquire(R, "b", TTL_S)).token == 2

    async def test_unknown_outcome(self, world: World) -> None:
        """With write and read back unanswered the call raises; repeated, it finds the grant and its early start."""
        network = ScriptedNetwork()
        holder = world.process(network)
        network.next(Fate.ANSWER_LOST, Fate.ANSWER_LOST)
        with pytest.raises(UnreachableError):
            await holder.acquire(R, "a", TTL_S)
        world.time.advance(3)
        lease = await holder.acquire(R, "a", TTL_S)
        assert lease.token == 1
        assert lease.trusted_until == pytest.approx(TRUSTED_S)

    async def test_slow_answer(self, world: World) -> None:
        """Belief counts from the start of the call, however long the answer takes."""
        network = GatedNetwork()
        holder = world.process(network)
        acquiring = asyncio.create_task(holder.acquire(R, "a", TTL_S))
        for _ in ("request", "answer"):
            await network.reached()
            world.time.advance(3)
            network.decide(Passage.PASS)
        assert (await acquiring).trusted_until == pytest.approx(TRUSTED_S)

    async def test_late_renewal(self, world: World) -> None:
        """A renewal that arrives after a younger one does not take the younger one's time away."""
        network = GatedNetwork()
        holder = world.process(network)

        async def passing(call: "asyncio.Task[Lease]", first: Passage = Passage.PASS) -> Lease:
            decision = first
            while not call.done():
                parked = asyncio.create_task(network.reached())
                await asyncio.wait({call, parked}, return_when=asyncio.FIRST_COMPLETED)
                parked.cancel()
                if network.parked:
                    network.decide(decision)
                    decision = Passage.PASS
            return await call

        lease = await passing(asyncio.create_task(holder.acquire(R, "a", TTL_S)))
        with pytest.raises(UnreachableError):
            await passing(asyncio.create_task(holder.renew(lease, TTL_S)), Passage.DELAY)
        world.time.advance(5)
        lease = await passing(asyncio.create_task(holder.renew(lease, TTL_S)))
        await asyncio.gather(network.late.pop()(), return_exceptions=True)
        world.time.advance(TTL_S - 0.001)
        with pytest.raises(LeaseHeldError):
            await world.process().acquire(R, "b", TTL_S)

    async def test_skew_within_the_bound(self, world: World) -> None:
        """A waiter whose clock is ahead by what TRUST leaves gets in exactly when the holder stops believing."""
        clock = ManualClock(world.time)
        lease = await world.open(clock, ScriptedNetwork()).acquire(R, "a", TTL_S)
        hasty = world.process(skew_s=SKEW_S)
        world.time.advance(TRUSTED_S - 0.001)
        lease.check(clock)
        with pytest.raises(LeaseHeldError):
            await hasty.acquire(R, "b", TTL_S)
        world.time.advance(0.001)
        await hasty.acquire(R, "b", TTL_S)
        with pytest.raises(StaleLeaseError):
            lease.check(clock)

    async def test_dead_holder_with_a_wrong_clock(self, world: World) -> None:
        """A holder whose clock was a year ahead dies; who watched its record for a TTL takes over."""
        await world.process(skew_s=YEAR_S).acquire(R, "a", TTL_S)
        watcher = world.process()
        with pytest.raises(LeaseHeldError) as refused:
            await watcher.acquire(R, "b", TTL_S)
        assert refused.value.delay == pytest.approx(TTL_S)
        world.time.advance(TTL_S - 0.001)
        with pytest.raises(LeaseHeldError):
            await watcher.acquire(R, "b", TTL_S)
        with pytest.raises(LeaseHeldError):
            await world.process().acquire(R, "c", TTL_S)
        world.time.advance(0.001)
        assert (await watcher.acquire(R, "b", TTL_S)).token == 2

    async def test_watched_holder_that_lives(self, world: World) -> None:
        """A renewal between two looks is a sign of life: watching starts again."""
        holder, watcher = world.process(skew_s=YEAR_S), world.process()
        lease = await holder.acquire(R, "a", TTL_S)
        with pytest.raises(LeaseHeldError):
            await watcher.acquire(R, "b", TTL_S)
        world.time.advance(TTL_S - 1)
        lease = await holder.renew(lease, TTL_S)
        world.time.advance(1)
        with pytest.raises(LeaseHeldError) as refused:
            await watcher.acquire(R, "b", TTL_S)
        assert refused.value.delay == pytest.approx(TTL_S)
        assert (await holder.renew(lease, TTL_S)).token == 1


class TestFakeLeasesInTrouble(InMemory, LeaseTroubleConformance):
    """The fake keeps the promises."""


class TestDynamoLeasesInTrouble(OnDynamo, LeaseTroubleConformance):
    """So does the adapter."""
