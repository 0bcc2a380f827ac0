"""What every implementation of the Watermarks port does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from services.runtime.aws.watermarks import DynamoWatermarks
from services.runtime.failures import ConflictError, UnreachableError
from services.runtime.watermarks import Watermark, Watermarks
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.watermarks import FakeWatermarks

W = "visit_events#visit_event"
MONDAY, TUESDAY = "2026-01-05T10:00:00.000", "2026-01-06T10:00:00.000"


@dataclass
class World:
    """One implementation behind a network that can fail."""

    open: Callable[[ManualClock, ScriptedNetwork], Watermarks]
    clock: ManualClock = field(default_factory=ManualClock)
    network: ScriptedNetwork = field(default_factory=ScriptedNetwork)
    watermarks: Watermarks = field(init=False)

    def __post_init__(self) -> None:
        self.watermarks = self.open(self.clock, self.network)


class WatermarksConformance:
    """Subclasses give a ``world`` fixture."""

    async def test_never_written(self, world: World) -> None:
        """A watermark that was never written is None and in no list."""
        assert await world.watermarks.read(W) is None
        assert await world.watermarks.list() == []

    async def test_first_write(self, world: World) -> None:
        """The first write expects version 0 and keeps the source's cursor to the letter."""
        cursor = " 2026-01-05T10:00:00.000+02:00 µ"
        written = await world.watermarks.advance(W, cursor, expected_version=0, run_id="r1")
        assert written == Watermark(W, cursor, 1, "r1", world.clock.now().isoformat())
        assert await world.watermarks.read(W) == written

    async def test_moves_forward(self, world: World) -> None:
        """Each move names the version it saw, and may stay at an equal cursor."""
        for version, cursor in enumerate([MONDAY, TUESDAY, TUESDAY]):
            moved = await world.watermarks.advance(W, cursor, expected_version=version, run_id=f"r{version}")
            assert (moved.version, moved.cursor, moved.run_id) == (version + 1, cursor, f"r{version}")

    async def test_never_backwards(self, world: World) -> None:
        """An older cursor is refused even by who names the right version."""
        before = await world.watermarks.advance(W, TUESDAY, expected_version=0, run_id="r1")
        with pytest.raises(ConflictError, match="back"):
            await world.watermarks.advance(W, MONDAY, expected_version=1, run_id="r2")
        assert await world.watermarks.read(W) == before

    @pytest.mark.parametrize(
        ("low", "high"), [("10", "9"), ("A", "a"), ("", "0"), ("Z", "é"), ("\uffff", "\U0001f600")]
    )
    async def test_text_order(self, world: World, low: str, high: str) -> None:
        """Cursors compare as text, by code point, whatever they look like."""
        await world.watermarks.advance(W, low, expected_version=0, run_id="r1")
        await world.watermarks.advance(W, high, expected_version=1, run_id="r1")
        with pytest.raises(ConflictError):
            await world.watermarks.advance(W, low, expected_version=2, run_id="r1")

    @pytest.mark.parametrize("expected", [0, 1, 3])
    async def test_zombie_run(self, world: World, expected: int) -> None:
        """A run that saw another version changes nothing, however far ahead its cursor is."""
        await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1")
        before = await world.watermarks.advance(W, MONDAY, expected_version=1, run_id="r2")
        for move in (world.watermarks.advance, world.watermarks.reset):
            with pytest.raises(ConflictError, match="version 2"):
                await move(W, TUESDAY, expected_version=expected, run_id="zombie")
        assert await world.watermarks.read(W) == before

    async def test_wrong_first_version(self, world: World) -> None:
        """Nobody can continue a watermark that was never written."""
        with pytest.raises(ConflictError, match="version 0"):
            await world.watermarks.advance(W, MONDAY, expected_version=1, run_id="r1")
        assert await world.watermarks.read(W) is None

    async def test_race(self, world: World) -> None:
        """Of twenty advances from one version exactly one wins, and it is the one that is read."""
        moves = (world.watermarks.advance(W, MONDAY, expected_version=0, run_id=f"r{n}") for n in range(20))
        results = await asyncio.gather(*moves, return_exceptions=True)
        won = [result for result in results if isinstance(result, Watermark)]
        assert won == [await world.watermarks.read(W)]
        assert sum(isinstance(result, ConflictError) for result in results) == 19

    async def test_reset(self, world: World) -> None:
        """An operator may go back, or start over; versions go on, so runs from before are refused."""
        await world.watermarks.advance(W, TUESDAY, expected_version=0, run_id="r1")
        back = await world.watermarks.reset(W, MONDAY, expected_version=1, run_id="operator")
        assert (back.cursor, back.version) == (MONDAY, 2)
        cleared = await world.watermarks.reset(W, None, expected_version=2, run_id="operator")
        assert (cleared.cursor, cleared.version) == (None, 3)
        assert await world.watermarks.read(W) == cleared
        with pytest.raises(ConflictError):
            await world.watermarks.advance(W, TUESDAY, expected_version=1, run_id="r1")
        again = await world.watermarks.advance(W, MONDAY, expected_version=3, run_id="r2")
        assert (again.cursor, again.version) == (MONDAY, 4)

    async def test_complete_until(self, world: World) -> None:
        """Where nothing can be published any more is kept beside the cursor, to the letter, by every move anew."""
        sunday = "2026-01-04T10:00:00.000"
        first = await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1", complete_until=sunday)
        assert first == Watermark(W, MONDAY, 1, "r1", world.clock.now().isoformat(), sunday)
        assert await world.watermarks.read(W) == first
        assert await world.watermarks.list() == [first]
        again = await world.watermarks.advance(W, MONDAY, expected_version=1, run_id="r2", complete_until=MONDAY)
        assert (again.cursor, again.complete_until) == (MONDAY, MONDAY)
        silent = await world.watermarks.advance(W, TUESDAY, expected_version=2, run_id="r3")
        assert await world.watermarks.read(W) == silent
        assert silent.complete_until is None

    async def test_a_refused_move_completes_nothing(self, world: World) -> None:
        """A move that is refused leaves where the next run starts to read."""
        before = await world.watermarks.advance(W, TUESDAY, expected_version=0, run_id="r1", complete_until=MONDAY)
        for cursor, version in [(TUESDAY, 0), (MONDAY, 1)]:
            with pytest.raises(ConflictError):
                await world.watermarks.advance(W, cursor, expected_version=version, run_id="r2", complete_until=TUESDAY)
        assert await world.watermarks.read(W) == before

    @pytest.mark.parametrize("cursor", [MONDAY, None])
    async def test_a_reset_completes_nothing(self, world: World, cursor: str | None) -> None:
        """What an operator takes back has to be read again, so a reset says nothing is complete beyond its cursor."""
        await world.watermarks.advance(W, TUESDAY, expected_version=0, run_id="r1", complete_until=TUESDAY)
        await world.watermarks.reset(W, cursor, expected_version=1, run_id="operator")
        found = await world.watermarks.read(W)
        assert found is not None
        assert (found.cursor, found.complete_until) == (cursor, None)

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.REPEATED])
    async def test_an_ambiguous_move_keeps_what_is_complete(self, world: World, fate: Fate) -> None:
        """A move that is recognised as done is returned with all that it wrote."""
        world.network.next(fate)
        moved = await world.watermarks.advance(W, TUESDAY, expected_version=0, run_id="r1", complete_until=MONDAY)
        assert moved.complete_until == MONDAY
        assert await world.watermarks.read(W) == moved

    async def test_reset_before_the_first_write(self, world: World) -> None:
        """A watermark may be set by hand before any run."""
        assert (await world.watermarks.reset(W, MONDAY, expected_version=0, run_id="operator")).version == 1

    async def test_list(self, world: World) -> None:
        """The list is by name and holds each as it was last written."""
        written = [
            await world.watermarks.advance(name, MONDAY, expected_version=0, run_id="r") for name in ("b", "c", "a")
        ]
        assert await world.watermarks.list() == sorted(written, key=lambda watermark: watermark.name)

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.REPEATED])
    async def test_ambiguous_success(self, world: World, fate: Fate) -> None:
        """A move whose answer was lost, or that the SDK sent twice, is recognised and counts once."""
        world.network.next(fate)
        moved = await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1")
        assert moved.version == 1
        world.network.next(fate)
        cleared = await world.watermarks.reset(W, None, expected_version=1, run_id="r1")
        assert await world.watermarks.read(W) == cleared

    async def test_failed_request(self, world: World) -> None:
        """A request that never arrived raises and changes nothing."""
        world.network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError):
            await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1")
        assert await world.watermarks.read(W) is None

    async def test_same_run_twice(self, world: World) -> None:
        """A run that repeats its own move after it was done loses: the version says it was done."""
        await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1")
        with pytest.raises(ConflictError):
            await world.watermarks.advance(W, MONDAY, expected_version=0, run_id="r1")


class TestFakeWatermarks(WatermarksConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        return World(FakeWatermarks)


class TestDynamoWatermarks(WatermarksConformance):
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """One table of its own."""
        async with only_table(empty_stack, "watermarks") as (clients, table):
            yield World(
                lambda clock, network: DynamoWatermarks(
                    NetworkedClient(clients.dynamodb, network).as_dynamodb(), table, clock
                )
            )
