"""What every implementation of the ObservedSchemas port does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from services.runtime.aws.schemas import DynamoObservedSchemas
from services.runtime.failures import UnreachableError
from services.runtime.schemas import ObservedSchemas, SeenColumn
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.schemas import FakeObservedSchemas

E = "nyc_311#service_requests"


@dataclass
class World:
    """One implementation, and the same over a bad network."""

    open: Callable[[ManualClock, ScriptedNetwork], ObservedSchemas]
    clock: ManualClock = field(default_factory=ManualClock)
    network: ScriptedNetwork = field(default_factory=ScriptedNetwork)
    schemas: ObservedSchemas = field(init=False)
    faulty: ObservedSchemas = field(init=False)

    def __post_init__(self) -> None:
        self.schemas = self.open(self.clock, ScriptedNetwork())
        self.faulty = self.open(self.clock, self.network)


class SchemasConformance:
    """Subclasses give a ``world`` fixture."""

    async def test_nothing_seen(self, world: World) -> None:
        """An entity that nobody looked at has no columns, and looking at none changes that not."""
        assert await world.schemas.list(E) == []
        assert await world.schemas.observe(E, [], run_id="r1") == []
        assert await world.schemas.list(E) == []

    async def test_new_columns(self, world: World) -> None:
        """Columns are new to the first run that meets them, which the list names with the time."""
        assert await world.schemas.observe(E, ["b", "a"], run_id="r1") == ["a", "b"]
        met = world.clock.now().isoformat()
        world.clock.advance(60)
        assert await world.schemas.observe(E, {"a", "c"}, run_id="r2") == ["c"]
        assert await world.schemas.list(E) == [
            SeenColumn("a", "r1", met),
            SeenColumn("b", "r1", met),
            SeenColumn("c", "r2", world.clock.now().isoformat()),
        ]

    async def test_the_same_run_hears_the_same(self, world: World) -> None:
        """A repetition in the same run gives the same answer, and the first sighting stands."""
        first = await world.schemas.observe(E, ["a", "b"], run_id="r1")
        listed = await world.schemas.list(E)
        world.clock.advance(60)
        assert await world.schemas.observe(E, ["b", "a"], run_id="r1") == first
        assert await world.schemas.list(E) == listed

    async def test_entities_are_apart(self, world: World) -> None:
        """A column is new for each entity."""
        await world.schemas.observe(E, ["a"], run_id="r1")
        assert await world.schemas.observe("other#entity", ["a"], run_id="r2") == ["a"]
        assert [seen.run_id for seen in await world.schemas.list(E)] == ["r1"]

    async def test_many_columns(self, world: World) -> None:
        """More columns than one BatchGetItem holds (100) are remembered, given in any order and twice."""
        columns = [f"column_{number:03}" for number in range(230)]
        assert await world.schemas.observe(E, columns[::-1] + columns[:7], run_id="r1") == columns
        assert await world.schemas.observe(E, columns, run_id="r2") == []
        assert [seen.column for seen in await world.schemas.list(E)] == columns

    async def test_order_is_by_code_point(self, world: World) -> None:
        """Answer and list are in the order of code points."""
        columns = [":@computed_region_efsh_h5xi", "A", "a", "é", "\uffff", "\U0001f600"]
        assert await world.schemas.observe(E, columns[::-1], run_id="r1") == columns
        assert [seen.column for seen in await world.schemas.list(E)] == columns

    @pytest.mark.parametrize(
        ("column", "shown"),
        [
            ("", ""),
            ("\ud800 torn", "\\ud800 torn"),
            ("n" * 5_000, "n" * 1_000),
            ("é" * 600, "é" * 600),
            ("sha256:abc", "sha256:abc"),
            ("#name", "#name"),
            ("\x00", "\x00"),
        ],
    )
    async def test_any_text_is_a_column(self, world: World, column: str, shown: str) -> None:
        """Keys of any JSON object can be remembered, however odd; the list shows them in a readable form."""
        assert await world.schemas.observe(E, [column, "plain"], run_id="r1") == sorted([column, "plain"])
        assert await world.schemas.observe(E, [column, "plain"], run_id="r1") == sorted([column, "plain"])
        assert await world.schemas.observe(E, [column], run_id="r2") == []
        assert [seen.column for seen in await world.schemas.list(E)] == sorted([shown, "plain"])

    async def test_long_names_stay_apart(self, world: World) -> None:
        """Names that differ only after a thousand characters are two columns."""
        long = "n" * 2_000
        assert await world.schemas.observe(E, [long + "1"], run_id="r1") == [long + "1"]
        assert await world.schemas.observe(E, [long + "2"], run_id="r2") == [long + "2"]

    async def test_one_of_ten_runs(self, world: World) -> None:
        """Of ten runs that meet a column at once it is new to one, and the list names that one."""
        answers = await asyncio.gather(*(world.schemas.observe(E, ["a"], run_id=f"r{n}") for n in range(10)))
        (winner,) = [n for n, new in enumerate(answers) if new]
        assert [seen.run_id for seen in await world.schemas.list(E)] == [f"r{winner}"]

    async def test_all_segments_of_a_run(self, world: World) -> None:
        """Segments of one run that meet a column at once all hear that it is new."""
        answers = await asyncio.gather(*(world.schemas.observe(E, ["a", "b"], run_id="r1") for _ in range(10)))
        assert answers == [["a", "b"]] * 10

    @pytest.mark.parametrize("at", range(4))
    @pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST])
    async def test_going_on_after_an_unknown_outcome(self, world: World, fate: Fate, at: int) -> None:
        """Wherever a call broke off, its repetition in the same run gives the whole answer."""
        world.network.next(*[Fate.DELIVERED] * at, fate)
        try:
            await world.faulty.observe(E, ["a", "b", "c"], run_id="r1")
        except UnreachableError:
            world.clock.advance(1)
        assert await world.schemas.observe(E, ["a", "b", "c"], run_id="r1") == ["a", "b", "c"]
        assert await world.schemas.observe(E, ["a", "b", "c"], run_id="r2") == []

    @pytest.mark.parametrize("at", range(4))
    async def test_a_repeated_request(self, world: World, at: int) -> None:
        """A request that the SDK sent twice makes nobody else's column of this run's."""
        world.network.next(*[Fate.DELIVERED] * at, Fate.REPEATED)
        assert await world.faulty.observe(E, ["a", "b", "c"], run_id="r1") == ["a", "b", "c"]


class TestFakeObservedSchemas(SchemasConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        shared = FakeObservedSchemas()

        def open_(clock: ManualClock, network: ScriptedNetwork) -> FakeObservedSchemas:
            return shared.seen_by(Effects(network=network), clock)

        return World(open_)


class TestDynamoObservedSchemas(SchemasConformance):
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """One table of its own."""
        async with only_table(empty_stack, "schemas") as (clients, table):
            yield World(
                lambda clock, network: DynamoObservedSchemas(
                    NetworkedClient(clients.dynamodb, network).as_dynamodb(), table, clock
                )
            )
