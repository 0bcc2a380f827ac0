"""Every row of a range once in its raw object, and its count in the ledger, whatever happens on the way."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.fetching import FetchSegment, KeyRange
from contracts.runs import RunState
from services.fetcher.use_case import fetch_batch
from services.runtime.deliveries import Delivery
from services.runtime.failures import PermanentError
from services.runtime.ledger import Step
from tests.fakes.effects import Effects, KilledError
from tests.fakes.network import Fate, ScriptedNetwork
from tests.unit.fetcher.world import World, at, command, declared, delivery, row

pytestmark = pytest.mark.usefixtures("quiet")

MINUTES = 4
RANGE = KeyRange(start=at(1), before=at(MINUTES - 1))
QUICK = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


@dataclass(frozen=True)
class Attempt:
    """One time the command is handled, and what goes wrong meanwhile."""

    kill_at: int | None = None
    """The process dies at this place, counted from 1."""
    fates: tuple[Fate, ...] = ()
    """What becomes of its first exchanges."""
    changes: tuple[tuple[int, int, bool], ...] = ()
    """What the source does at places of the process: (place, key, whether its row appears or disappears)."""
    twins: bool = False
    """The command is delivered twice in one batch."""


@dataclass
class Watched:
    """A world whose range is looked at at every place a process comes to."""

    world: World
    attempt: Attempt
    seen: list[frozenset[int]] = field(default_factory=list)
    places: int = 0

    def __post_init__(self) -> None:
        self.look()

    def __call__(self, place: str) -> None:
        """Let the source change, and the process die, where the attempt says so."""
        self.places += 1
        for number, key, appears in self.attempt.changes:
            if number == self.places:
                change(self.world, key, appears=appears)
        self.look()
        if self.attempt.kill_at is not None and self.places >= self.attempt.kill_at:
            raise KilledError(place)

    def look(self) -> None:
        """Remember which rows are in the range."""
        self.seen.append(frozenset(key for key, minute in published(self.world) if 1 <= minute < MINUTES - 1))


def published(world: World) -> list[tuple[int, int]]:
    return [(int(row["unique_key"]), int(row["created_date"][14:16])) for row in world.dataset.rows]


def change(world: World, key: int, *, appears: bool) -> None:
    """A row keeps its cursor for life; it may come, go and come again."""
    if not appears:
        world.dataset.withdraw(f"{key:08}")
    elif key not in dict(published(world)):
        world.dataset.publish(row(key, key % MINUTES))


KEYS = st.integers(0, 30)
CHANGES = st.lists(st.tuples(st.integers(1, 12), KEYS, st.booleans()), max_size=5).map(tuple)
ATTEMPTS = st.builds(
    Attempt,
    kill_at=st.none() | st.integers(1, 16),
    fates=st.lists(st.sampled_from([*[Fate.DELIVERED] * 4, *Fate]), max_size=8).map(tuple),
    changes=CHANGES,
    twins=st.booleans(),
)


async def handle(world: World, payload: FetchSegment, attempt: Attempt) -> tuple[bool, Sequence[frozenset[int]]]:
    """One attempt: whether a delivery must come again, and what was in the range at each moment of it."""
    watched = Watched(world, attempt)
    network = ScriptedNetwork()
    network.next(*attempt.fates)
    names = ("one", "two") if attempt.twins else ("one",)
    deliveries: list[Delivery] = [delivery(payload, name=name) for name in names]
    try:
        outcome = await fetch_batch(world.ports(Effects(watched, network)), deliveries)
    except KilledError:
        return True, watched.seen
    return bool(outcome.failed), watched.seen


@QUICK
@example(keys=set(), late={0, 1, 2}, batch_size=2, cap=1, attempts=[])
@given(
    keys=st.sets(KEYS, max_size=20),
    late=st.sets(KEYS, max_size=8),
    batch_size=st.integers(1, 5),
    cap=st.none() | st.integers(1, 4),
    attempts=st.lists(ATTEMPTS, max_size=4),
)
def test_each_row_once(
    runner: asyncio.Runner,
    keys: set[int],
    late: set[int],
    batch_size: int,
    cap: int | None,
    attempts: list[Attempt],
) -> None:
    """The object holds exactly the rows that stayed while it was read, with or without those that came or went.

    It is written once, and its count is in the ledger, whichever delivery entered it.
    """

    async def check() -> None:
        world = World(declared(batch_size=batch_size), [row(key, key % MINUTES) for key in keys], cap=cap)
        await world.begin()
        planned = [key for key, minute in published(world) if 1 <= minute < MINUTES - 1]
        payload = command(range=RANGE, expected=len(planned))
        for key in late:
            change(world, key, appears=True)
        seen: Sequence[frozenset[int]] = []
        for attempt in [*attempts, Attempt(), Attempt(changes=((1, 1, True), (2, 2, False)))]:
            was_there = world.stored() is not None
            again, during = await handle(world, payload, attempt)
            seen = seen if was_there else during
            assert not again or attempt in attempts
        assert len(world.objects.puts) == 1
        found = Counter(world.keys())
        assert set(found.values()) <= {1}
        assert frozenset.intersection(*seen) <= set(found) <= frozenset.union(*seen)
        entry = await world.entry()
        assert (entry.step, entry.fetched) == (Step.FETCHED, len(found))
        assert (await world.run()).state is RunState.RUNNING

    runner.run(check())


@QUICK
@given(refused_at=st.integers(1, 4), kill_at=st.none() | st.integers(1, 14), fates=ATTEMPTS.map(lambda a: a.fates))
def test_a_refused_run_fails_and_says_so(
    runner: asyncio.Runner, refused_at: int, kill_at: int | None, fates: tuple[Fate, ...]
) -> None:
    """A source that refuses ends the run as failed and announced, wherever the first attempt was cut off."""

    async def check() -> None:
        world = World(declared(batch_size=2), [row(key, 1) for key in range(7)])
        await world.begin()

        def refusing(attempt: Attempt) -> Effects:
            watched, asked = Watched(world, attempt), Counter[str]()

            def hook(place: str) -> None:
                asked[place] += 1
                if place.startswith("before page") and asked[place] == refused_at:
                    raise PermanentError("400: no such column")
                watched(place)

            network = ScriptedNetwork()
            network.next(*attempt.fates)
            return Effects(hook, network)

        payload = command(range=RANGE, expected=7)
        outcomes = []
        for number, attempt in enumerate([Attempt(kill_at, fates), Attempt()]):
            try:
                batch = [delivery(payload, receives=number + 1)]
                outcomes.append(await fetch_batch(world.ports(refusing(attempt)), batch))
            except KilledError:
                continue
        assert not outcomes[-1].failed
        assert ((await world.run()).state, world.objects.puts) == (RunState.FAILED, [])
        assert ("RunFailed", "400: no such column") in world.facts()

    runner.run(check())
