"""A deployment that Hypothesis does to whatever AWS, operators and bad luck can do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.property.world.deployment import MERGE, PLAN, VALIDATE, Deployment, Waiting
from tests.property.world.faults import Blow, Line, Strike, Turnstile
from tests.property.world.model import Kind, Model
from tests.property.world.processes import Mutation
from tests.property.world.uploads import upload

SECONDS = (1, 61, 400, 7 * 3_600, 30 * 3_600)
"""A moment, a lease, a stranded segment, another day, and beyond a sweep's sight."""
strikes = st.none() | st.builds(Strike, st.sampled_from(Blow), st.integers(1, 24))


class ExactlyOnce(RuleBasedStateMachine):
    """Holds the promises that can be held after every step, and all of them at rest."""

    def __init__(self, runner: asyncio.Runner, mutation: Mutation | None) -> None:
        super().__init__()
        self._runner = runner
        self._world = Deployment(mutation)
        self._model = Model(self._world)

    def _do(self, step: Callable[[], Awaitable[object]]) -> None:
        async def walk() -> None:
            await step()
            await self._model.look()

        self._runner.run(walk())

    def _some(self, data: st.DataObject, messages: Sequence[Waiting]) -> list[Waiting]:
        """Any of these, in any order."""
        order = data.draw(st.permutations(range(len(messages))))
        return [messages[i] for i in order[: data.draw(st.integers(1, len(messages)))]]

    @rule(
        files=st.lists(
            st.tuples(st.sampled_from([Kind.VALID, Kind.VALID, *Kind]), st.integers(0, 5), st.integers(0, 2)),
            min_size=1,
            max_size=4,
        )
    )
    def put(self, files: list[tuple[Kind, int, int]]) -> None:
        """Uploads; a key that is used again gets a new version."""
        for kind, slot, hour in files:
            self._do(partial(upload, self._model, kind, slot=slot, hour=hour))

    @precondition(lambda self: self._world.now_waiting())
    @rule(data=st.data(), strike=strikes)
    def deliver(self, data: st.DataObject, strike: Strike | None) -> None:
        """Some of what waits in a queue reaches a service, which may not survive it."""
        queue = data.draw(st.sampled_from(sorted({m.queue for m in self._world.now_waiting()})))
        batch = self._some(data, self._world.now_waiting(queue))
        self._do(partial(self._world.handle, queue, batch, Line(strike)))

    @precondition(lambda self: self._world.now_waiting())
    @rule(strike=strikes)
    def deliver_everything(self, strike: Strike | None) -> None:
        """All that waits reaches its service; the first one may not survive it."""
        for queue in (PLAN, VALIDATE, MERGE):
            batch = self._world.now_waiting(queue)
            if batch:
                line, strike = Line(strike), None
                self._do(partial(self._world.handle, queue, batch, line))

    @precondition(lambda self: len(self._world.now_waiting(MERGE)) > 0)
    @rule(
        data=st.data(),
        strike=strikes,
        order=st.lists(st.integers(0, 1), max_size=40),
        pauses=st.sets(st.integers(1, 24), max_size=2),
    )
    def two_mergers(self, data: st.DataObject, strike: Strike | None, order: list[int], pauses: set[int]) -> None:
        """Two mergers side by side, on messages of their own or on the same; one of them may sleep, or die."""
        waiting = self._world.now_waiting(MERGE)
        turnstile = Turnstile()

        async def sleep(place: int) -> None:
            if place in pauses:
                self._world.clock.advance(self._world.merger.lease_ttl_s + 1)

        sleeper = Line(strike, name="0", turnstile=turnstile, at_place=sleep)
        other = Line(name="1", turnstile=turnstile)
        work = [(self._some(data, waiting), sleeper), (self._some(data, waiting), other)]
        self._do(partial(self._world.together, work, turnstile, iter(order)))

    @precondition(lambda self: self._world.handled)
    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        """Messages that were handled and deleted come once more."""
        recent = self._world.handled[-12:]
        for message in self._some(data, recent):
            if '"RestoreCheckpoint"' not in message.body or data.draw(st.booleans()):
                self._world.send_again(message)

    @precondition(lambda self: any(m.announces for m in self._world.now_waiting()))
    @rule(data=st.data())
    def lose_announcements(self, data: st.DataObject) -> None:
        """Notifications that never come."""
        for message in self._some(data, [m for m in self._world.now_waiting() if m.announces]):
            self._world.lose(message)

    @rule()
    def scan(self) -> None:
        """A schedule or an operator asks for a scan."""
        self._world.request_scan()

    @precondition(lambda self: self._model.uploads)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """An operator has some occurrences judged again: quarantined ones, as a rule, but nothing enforces that."""
        chosen = data.draw(st.lists(st.sampled_from(sorted(self._model.uploads)), min_size=1, max_size=3, unique=True))
        uploads = [self._model.uploads[serial] for serial in chosen]
        self._world.request_replay([u.occurrence for u in uploads if u.kind is not Kind.FOREIGN])
        self._model.replayed = True

    @precondition(lambda self: len(self._model.contents) > 1)
    @rule(data=st.data(), discard=st.booleans())
    def restore(self, data: st.DataObject, *, discard: bool) -> None:
        """An operator wants an earlier version back."""
        version = data.draw(st.integers(0, len(self._model.contents) - 1))
        self._model.restores[self._world.request_restore(version, discard=discard)] = (version, discard)

    @rule(seconds=st.sampled_from(SECONDS))
    def wait(self, seconds: int) -> None:
        """Time passes: leases expire, days change."""
        self._world.clock.advance(seconds)

    @precondition(lambda self: len(self._model.contents) > 1 and self._world.losses == 0)
    @rule()
    def lose_tables(self) -> None:
        """DynamoDB is lost while no process is at work; objects and messages are not."""
        self._world.lose_tables()

    def teardown(self) -> None:
        """Come to rest, and hold every promise."""

        async def rest() -> None:
            await self._world.come_to_rest(self._model)
            await self._model.check_rest()

        self._runner.run(rest())


def machine(runner: asyncio.Runner, mutation: Mutation | None = None) -> type[ExactlyOnce]:
    """The machine on a loop that all examples share."""

    class Machine(ExactlyOnce):
        def __init__(self) -> None:
            super().__init__(runner, mutation)

    return Machine
