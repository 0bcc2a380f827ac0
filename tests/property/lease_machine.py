"""Three holders, one resource, and a world that may do to them whatever it likes.

Every request and every answer is parked until a rule decides its fate, so operations of different holders interleave
at each of their steps, holders pause anywhere for any time, and a request may arrive long after its sender gave up.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.runtime.failures import LeaseHeldError, StaleLeaseError, UnreachableError
from services.runtime.leases import Lease
from tests.fakes.clock import ManualClock, TrueTime
from tests.fakes.network import GatedNetwork, Passage, ScriptedNetwork, arrive
from tests.property.lease_world import Backend, Fence, Holder, expect, over, parked_or_done

T = TypeVar("T")

TTL_S = 10.0
STEP_S = 0.25
"""Time moves in steps that binary fractions hold exactly, so that bounds can be tested at equality."""

MOST_CRASHES = 2
"""Of one holder in one example, so that the others' stories are not all cut short."""


class LeaseMachine(RuleBasedStateMachine):
    """Walks the state machine of docs/leases.md; ``skew_s`` is how wrong a wall clock may be, either way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: Backend, skew_s: float) -> None:
        super().__init__()
        self._loop = loop
        self._backend = backend
        self._skew_s = skew_s
        self._time = TrueTime()
        self._holders: list[Holder] = []
        self._fence = Fence()
        self._token = 0
        self._granted: dict[int, str] = {}

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Give each holder a clock of its own."""
        for number in range(3):
            skew = data.draw(st.sampled_from([0.0, self._skew_s, -self._skew_s]))
            clock = ManualClock(self._time, skew_s=skew, boot_s=1_000.0 * number)
            network = GatedNetwork()
            self._holders.append(Holder(f"h{number}", clock, network, self._backend.process(clock, network)))

    def _idle(self, *, leased: bool | None = None) -> list[Holder]:
        return [h for h in self._holders if h.task is None and leased in (None, h.lease is not None)]

    def _busy(self) -> list[Holder]:
        return [h for h in self._holders if h.task is not None]

    @rule(steps=st.integers(1, 48))
    def wait(self, steps: int) -> None:
        """Time passes for everybody."""
        self._time.advance(steps * STEP_S)

    @precondition(lambda self: any(h.trusts for h in self._holders))
    @rule()
    def wait_to_the_last_moment(self) -> None:
        """Time passes until the holder is about to stop believing: the worst moment for a grant to somebody else."""
        for holder in self._holders:
            if holder.lease is not None and holder.trusts:
                left = holder.lease.trusted_until - holder.clock.monotonic()
                self._time.advance(max(0.0, left - STEP_S))

    @precondition(lambda self: any(not h.trusts for h in self._idle()))
    @rule(data=st.data(), again=st.booleans())
    def acquire(self, data: st.DataObject, *, again: bool) -> None:
        """Start to acquire, under a new owner name or, after an unknown outcome, under the same one."""
        self._acquire(data.draw(st.sampled_from([h for h in self._idle() if not h.trusts])), again=again)

    def _acquire(self, holder: Holder, *, again: bool) -> None:
        if not (again and holder.owner):
            holder.attempts += 1
            holder.owner = f"{holder.name}.{holder.lives}.{holder.attempts}"
        holder.lease = None
        self._begin(holder, holder.leases.acquire(self._backend.resource, holder.owner, TTL_S))

    @precondition(lambda self: any(not h.trusts for h in self._idle()))
    @rule(data=st.data())
    def try_at_once(self, data: st.DataObject) -> None:
        """An acquisition without trouble, whether or not it is granted."""
        holder = data.draw(st.sampled_from([h for h in self._idle() if not h.trusts]))
        self._acquire(holder, again=False)
        self._finish(holder)

    @precondition(lambda self: self._idle(leased=True))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """Start to renew, in time or late."""
        self._renew(data.draw(st.sampled_from(self._idle(leased=True))))

    def _renew(self, holder: Holder) -> None:
        if holder.lease is not None:
            self._begin(holder, holder.leases.renew(holder.lease, TTL_S))

    @precondition(lambda self: self._idle(leased=True))
    @rule(data=st.data(), steps=st.integers(1, 8))
    def renew_twice(self, data: st.DataObject, steps: int) -> None:
        """A renewal is given up, a while later another one gets through, and then the first arrives after all."""
        holder = data.draw(st.sampled_from(self._idle(leased=True)))
        self._renew(holder)
        holder.network.decide(Passage.DELAY)
        self._settle(holder)
        self._finish(holder)
        self._time.advance(steps * STEP_S)
        self._renew(holder)
        self._finish(holder)
        self._run(arrive(holder.network.late.pop()))

    @precondition(lambda self: self._idle(leased=True))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Stop believing, and start to give back."""
        holder = data.draw(st.sampled_from(self._idle(leased=True)))
        lease, holder.lease, holder.owner = holder.lease, None, ""
        if lease is not None:
            self._begin(holder, holder.leases.release(lease))

    @precondition(lambda self: self._busy())
    @rule(data=st.data(), passage=st.sampled_from(Passage))
    def decide(self, data: st.DataObject, passage: Passage) -> None:
        """One request or answer goes through, is lost, or is late."""
        holder = data.draw(st.sampled_from(self._busy()))
        holder.network.decide(passage)
        self._settle(holder)

    @precondition(lambda self: self._busy())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """An operation runs to its end without trouble."""
        self._finish(data.draw(st.sampled_from(self._busy())))

    def _finish(self, holder: Holder) -> None:
        while holder.task is not None:
            holder.network.decide(Passage.PASS)
            self._settle(holder)
            self.tokens_grow_by_one()

    @precondition(lambda self: any(h.network.late for h in self._holders))
    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        """A request arrives for which nobody waits any more."""
        network = data.draw(st.sampled_from([h.network for h in self._holders if h.network.late]))
        self._run(arrive(network.late.pop(0)))

    @precondition(lambda self: any(h.lives < MOST_CRASHES for h in self._holders))
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A process dies and another one starts in its place; what was on its way stays on its way."""
        holder = data.draw(st.sampled_from([h for h in self._holders if h.lives < MOST_CRASHES]))
        self._kill(holder)
        late = holder.network.late
        holder.network = GatedNetwork()
        holder.network.late = late
        holder.leases = self._backend.process(holder.clock, holder.network)
        holder.lives += 1
        holder.owner, holder.lease, holder.souvenir = "", None, None

    @precondition(lambda self: any(h.souvenir for h in self._holders))
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """A holder writes without a last look at its clock: it was stopped right after the check."""
        holder = data.draw(st.sampled_from([h for h in self._holders if h.souvenir]))
        if holder.souvenir is None:
            return
        younger = [token for token in self._fence.writers if token > holder.souvenir.token]
        let_in = self._fence.write(holder.souvenir.token, f"{holder.name}.{holder.lives}")
        expect(let_in is not bool(younger), "a write is refused if, and only if, a younger token has written")

    @invariant()
    def one_believer(self) -> None:
        """At no true time do two holders trust the same resource."""
        believers = [h.name for h in self._holders if h.trusts]
        expect(len(believers) <= 1, f"{believers} trust one lease at {self._time.elapsed_s} s")

    @invariant()
    def tokens_grow_by_one(self) -> None:
        """No step makes the token repeat, go down or skip."""
        token = self._run(self._backend.token())
        expect(token in {self._token, self._token + 1}, f"token went from {self._token} to {token}")
        self._token = token

    @invariant()
    def one_writer_a_token(self) -> None:
        """No two processes ever write under one token."""
        shared = {token: who for token, who in self._fence.writers.items() if len(who) > 1}
        expect(not shared, f"tokens with two writers: {shared}")

    def teardown(self) -> None:
        """Everybody dies; after a TTL and the skew a newcomer gets the lease at its first attempt."""
        for holder in self._holders:
            self._kill(holder)
        self._time.advance(TTL_S + 2 * self._skew_s)
        newcomer = self._backend.process(ManualClock(self._time, skew_s=-self._skew_s), ScriptedNetwork())
        lease = self._run(newcomer.acquire(self._backend.resource, "newcomer", TTL_S))
        expect(lease.token == self._token + 1, f"the newcomer got token {lease.token} after {self._token}")

    def _begin(self, holder: Holder, work: Coroutine[Any, Any, Lease | None]) -> None:
        async def begin() -> None:
            holder.task = asyncio.create_task(work)

        self._run(begin())
        self._settle(holder)

    def _settle(self, holder: Holder) -> None:
        if holder.task is None:
            return
        self._run(parked_or_done(holder.task, holder.network))
        if not holder.task.done():
            return
        task, holder.task = holder.task, None
        try:
            result = task.result()
        except StaleLeaseError:
            holder.lease = None
        except LeaseHeldError:
            holder.owner = ""
        except UnreachableError:
            return  # nothing is known; whatever was believed before is still believed
        else:
            if result is not None:
                self._believe(holder, result)

    def _believe(self, holder: Holder, lease: Lease) -> None:
        holder.lease = holder.souvenir = lease
        first = self._granted.setdefault(lease.token, lease.owner)
        expect(first == lease.owner, f"token {lease.token} was granted to {first} and to {lease.owner}")

    def _kill(self, holder: Holder) -> None:
        if holder.task is not None:
            holder.task.cancel()
            self._run(over(holder.task))
            holder.task = None
        holder.network.forget()
        holder.lease = None


def machine(loop: asyncio.AbstractEventLoop, backend: Callable[[], Backend], skew_s: float) -> type[LeaseMachine]:
    """The machine over a fresh backend for each example; clocks are wrong by up to ``skew_s`` seconds, either way."""

    class Machine(LeaseMachine):
        def __init__(self) -> None:
            super().__init__(loop, backend(), skew_s)

    return Machine
