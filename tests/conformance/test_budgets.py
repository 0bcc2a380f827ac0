"""What every implementation of the RateBudget port does, over clocks that the tests own."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from services.runtime.aws.budgets import DynamoRateBudget
from services.runtime.budgets import RateBudget
from services.runtime.failures import TemporaryError, UnreachableError
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.budgets import FakeBudgetTable, FakeRateBudget
from tests.fakes.clock import ManualClock, TrueTime
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, Network, NetworkedClient, ScriptedNetwork

T = TypeVar("T")
CITY, STATE = "https://data.city.example", "https://data.state.example"
RATE, BURST = 20.0, 4
INTERVAL = 1 / RATE
CLOSE = 1e-5
"""Seconds; adapters count whole microseconds."""

Open = Callable[[ManualClock, Network], RateBudget]


@dataclass
class World:
    """One implementation; each call of ``open`` is another process."""

    open: Open
    time: TrueTime = field(default_factory=TrueTime)

    def process(self, *, skew_s: float = 0.0, network: Network | None = None) -> RateBudget:
        """A process whose clock is so many seconds ahead."""
        return self.open(ManualClock(self.time, skew_s=skew_s), network or ScriptedNetwork())


async def take(budget: RateBudget, name: str = CITY, *, rate: float = RATE, burst: int = BURST) -> float:
    return await budget.take(name, per_second=rate, burst=burst)


async def waits(budget: RateBudget, count: int) -> list[float]:
    return [await take(budget) for _ in range(count)]


def near(*seconds: float) -> object:
    return pytest.approx(list(seconds), abs=CLOSE)


class BudgetConformance:
    """Subclasses give a ``world`` fixture."""

    async def test_several_turns_are_taken_at_once(self, world: World) -> None:
        """They count one by one against the rate; the wait is that of the first of them."""
        budget = world.process()
        assert await budget.take(CITY, per_second=RATE, burst=BURST, count=BURST - 1) == 0
        assert await take(budget) == 0
        assert await budget.take(CITY, per_second=RATE, burst=BURST, count=2) == pytest.approx(INTERVAL, abs=CLOSE)
        assert await take(budget) == pytest.approx(3 * INTERVAL, abs=CLOSE)
        for count in (0, BURST + 1):
            with pytest.raises(ValueError, match="in bursts of"):
                await budget.take(CITY, per_second=RATE, burst=BURST, count=count)

    async def test_a_burst_and_then_one_at_a_time(self, world: World) -> None:
        """A full bucket sends its burst at once; what follows waits its turn, each one interval longer."""
        found = await waits(world.process(), BURST + 3)
        assert found == near(0, 0, 0, 0, INTERVAL, 2 * INTERVAL, 3 * INTERVAL)

    async def test_tokens_come_back(self, world: World) -> None:
        """As many tokens as intervals have passed are there again."""
        budget = world.process()
        await waits(budget, BURST)
        world.time.advance(2 * INTERVAL)
        assert await waits(budget, 3) == near(0, 0, INTERVAL)

    async def test_never_more_than_the_burst(self, world: World) -> None:
        """A bucket that was left alone for a day holds its burst and no more."""
        budget = world.process()
        await waits(budget, 3 * BURST)
        world.time.advance(86_400)
        assert await waits(budget, BURST + 1) == near(*[0.0] * BURST, INTERVAL)

    async def test_a_debt_is_paid_first(self, world: World) -> None:
        """Tokens taken ahead of time delay whoever comes later, also after some of the time has passed."""
        budget = world.process()
        await waits(budget, BURST + 10)
        world.time.advance(4 * INTERVAL)
        assert await take(budget) == pytest.approx(7 * INTERVAL, abs=CLOSE)

    async def test_without_a_burst(self, world: World) -> None:
        """A burst of one spaces all requests, also at less than one a second."""
        budget = world.process()
        assert [await take(budget, rate=0.25, burst=1) for _ in range(3)] == near(0, 4, 8)

    async def test_names_are_budgets_of_their_own(self, world: World) -> None:
        """What one source's budget gives out or puts off is nothing to another's."""
        budget = world.process()
        await waits(budget, BURST + 5)
        await budget.pause(CITY, 60)
        assert await take(budget, STATE) == 0

    async def test_everybody_at_once(self, world: World) -> None:
        """Of sixty tokens that six processes take at once, each is for a moment of its own."""
        budgets = [world.process() for _ in range(6)]
        found = await asyncio.gather(*(take(budget) for budget in budgets for _ in range(10)))
        assert sorted(found) == near(*[0.0] * BURST, *(n * INTERVAL for n in range(1, 61 - BURST)))

    @pytest.mark.parametrize("seed", range(3))
    async def test_together_within_the_rate(self, world: World, seed: int) -> None:
        """Processes that come when they like and wait as told send at most burst + rate x time, over any time."""
        dice = random.Random(seed)  # noqa: S311 - a repeatable walk
        budgets = [world.process() for _ in range(4)]
        sent = []
        for _ in range(60):
            world.time.advance(dice.choice([0, 0, 0, 0.01, 0.05, 0.3]))
            sent.append(world.time.elapsed_s + await take(dice.choice(budgets)))
        sent.sort()
        for first, start in enumerate(sent):
            for last in range(first, len(sent)):
                assert last - first + 1 <= BURST + RATE * (sent[last] - start + CLOSE * len(sent))

    async def test_nobody_waits_for_nothing(self, world: World) -> None:
        """Takers that keep coming and wait as told use the whole rate."""
        budget = world.process()
        for number in range(30):
            wait = await take(budget)
            world.time.advance(wait)
            assert world.time.elapsed_s == pytest.approx(max(0, number + 1 - BURST) * INTERVAL, abs=30 * CLOSE)

    async def test_a_pause_holds_everybody(self, world: World) -> None:
        """After a pause was asked for, nobody's next request is earlier, and no burst follows it."""
        asked, other = world.process(), world.process()
        await take(asked)
        await asked.pause(CITY, 30)
        world.time.advance(10)
        assert await waits(other, 3) == near(20, 20 + INTERVAL, 20 + 2 * INTERVAL)

    async def test_a_pause_before_the_first_request(self, world: World) -> None:
        """A budget that nobody has used can be paused."""
        budget = world.process()
        await budget.pause(CITY, 5)
        assert await take(budget) == pytest.approx(5, abs=CLOSE)

    async def test_after_a_pause(self, world: World) -> None:
        """The bucket fills again from the pause's end on."""
        budget = world.process()
        await budget.pause(CITY, 5)
        world.time.advance(5 + INTERVAL)
        assert await waits(budget, 3) == near(0, 0, INTERVAL)

    async def test_a_shorter_pause_shortens_nothing(self, world: World) -> None:
        """Neither an earlier pause nor the turns already given out are shortened."""
        budget = world.process()
        await budget.pause(CITY, 60)
        await budget.pause(CITY, 1)
        assert await take(budget) == pytest.approx(60, abs=CLOSE)
        await budget.pause(CITY, 10)
        assert await take(budget) == pytest.approx(60 + INTERVAL, abs=CLOSE)

    @pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
    async def test_a_budget_without_sense(self, world: World, rate: float, burst: int) -> None:
        """A rate that is not positive and a burst below one are refused."""
        with pytest.raises(ValueError, match=CITY):
            await take(world.process(), rate=rate, burst=burst)

    @pytest.mark.parametrize("used", [0, BURST])
    async def test_a_lost_answer_wastes_a_token(self, world: World, used: int) -> None:
        """Who did not hear the answer takes again; nobody else is given the moment that was lost."""
        network = ScriptedNetwork()
        budget = world.process(network=network)
        before = await waits(budget, used)
        assert max(before, default=0) == 0
        # A bucket that was left alone is moved by the second update: the first one's condition does not hold.
        network.next(*[Fate.DELIVERED] * self.exchanges_before_moving(used), Fate.ANSWER_LOST)
        with pytest.raises(UnreachableError):
            await take(budget)
        rest = await waits(world.process(), BURST)
        assert rest == near(*(max(0, n + 2 - BURST + used) * INTERVAL for n in range(BURST)))

    @pytest.mark.parametrize("used", [0, BURST])
    async def test_a_repeated_request_wastes_a_token(self, world: World, used: int) -> None:
        """The SDK sends a request twice: its taker has one turn, and the next taker another one."""
        network = ScriptedNetwork()
        budget = world.process(network=network)
        await waits(budget, used)
        network.next(*[Fate.DELIVERED] * self.exchanges_before_moving(used), Fate.REPEATED)
        mine = await take(budget)
        others = await waits(world.process(), BURST)
        assert min(others) >= mine - CLOSE
        assert others == near(*(max(0, n + 3 - BURST + used) * INTERVAL for n in range(BURST)))

    async def test_a_request_that_never_arrived(self, world: World) -> None:
        """A lost request raises and takes nothing; a lost pause can be asked for again."""
        network = ScriptedNetwork()
        budget = world.process(network=network)
        network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await take(budget)
        network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await budget.pause(CITY, 10)
        assert await waits(budget, BURST + 1) == near(*[0.0] * BURST, INTERVAL)
        network.next(Fate.ANSWER_LOST)
        with pytest.raises(UnreachableError):
            await budget.pause(CITY, 10)
        await budget.pause(CITY, 10)
        assert await take(budget) == pytest.approx(10, abs=CLOSE)

    async def test_clocks_that_differ(self, world: World) -> None:
        """Whose clock is behind waits for the difference; no turn is given out twice."""
        ahead, behind = world.process(skew_s=2.0), world.process(skew_s=-1.0)
        turns = [2.0 + await take(ahead) for _ in range(BURST)]
        turns += [-1.0 + await take(behind) for _ in range(3)]
        turns += [2.0 + await take(ahead) for _ in range(3)]
        assert turns == near(*[2.0] * BURST, *(2.0 + n * INTERVAL for n in range(1, 7)))

    def exchanges_before_moving(self, used: int) -> int:
        """Requests of a ``take`` before the one that moves the bucket, if so many tokens were taken just before."""
        del used
        return 0


class TestFakeRateBudget(BudgetConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        table = FakeBudgetTable()
        return World(lambda clock, network: FakeRateBudget(clock, effects=Effects(network=network), table=table))


class Meanwhile:
    """A network on which something happens before certain exchanges."""

    def __init__(self, *happenings: Callable[[], Awaitable[object]] | None) -> None:
        self._happenings = list(happenings)

    async def carry(self, effect: Callable[[], Awaitable[T]]) -> T:
        """See ``Network``."""
        happening = self._happenings.pop(0) if self._happenings else None
        if happening is not None:
            await happening()
        return await effect()


class TestDynamoRateBudget(BudgetConformance):
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """One table of its own."""
        async with only_table(empty_stack, "budgets") as (clients, table):
            yield World(
                lambda clock, network: DynamoRateBudget(
                    NetworkedClient(clients.dynamodb, network).as_dynamodb(), table, clock
                )
            )

    def exchanges_before_moving(self, used: int) -> int:
        """A full bucket refuses the update of one in use."""
        return 0 if used else 1

    async def test_the_first_two_at_once(self, world: World) -> None:
        """Who finds a full bucket that another taker uses in the same moment takes the next turn."""
        other = world.process()
        mine = world.process(network=Meanwhile(None, lambda: take(other, burst=1)))
        assert await take(mine, burst=1) == pytest.approx(INTERVAL, abs=CLOSE)

    async def test_a_bucket_that_never_stands_still(self, world: World) -> None:
        """A bucket that is full and in use by turns, under every update, is left to a later attempt."""
        other = world.process()

        async def use_and_leave() -> None:
            await take(other, burst=1)
            world.time.advance(3600)

        mine = world.process(network=Meanwhile(*[None, use_and_leave] * 3))
        with pytest.raises(TemporaryError, match="budget"):
            await take(mine, burst=1)
