"""What every implementation of the EntitySchemas port does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from contracts.fields import EntityField
from services.runtime.aws.entity_schemas import DynamoEntitySchemas
from services.runtime.aws.schemas import DynamoObservedSchemas
from services.runtime.failures import ConflictError, UnreachableError
from services.runtime.schemas import EntitySchemas, RecordedSchema
from tests.conformance.only_table import only_table
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.effects import Effects
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.schemas import FakeEntitySchemas

E = "ecommerce.orders#orders"
ID = EntityField(name="order id", type="int64", source_type="bigint")
ODD = EntityField(name="größe\t\"'{}", type="list<decimal(38,18)>", source_type='public."Odd[]"')


@dataclass
class World:
    """One implementation, and the same over a bad network."""

    open: Callable[[ManualClock, ScriptedNetwork], EntitySchemas]
    clock: ManualClock = field(default_factory=ManualClock)
    network: ScriptedNetwork = field(default_factory=ScriptedNetwork)
    schemas: EntitySchemas = field(init=False)
    faulty: EntitySchemas = field(init=False)

    def __post_init__(self) -> None:
        self.schemas = self.open(self.clock, ScriptedNetwork())
        self.faulty = self.open(self.clock, self.network)


class EntitySchemasConformance:
    """Subclasses give a ``world`` fixture."""

    async def test_nothing_recorded(self, world: World) -> None:
        """An entity that was never loaded has no version."""
        assert await world.schemas.latest(E) is None
        assert await world.schemas.history(E) == []

    async def test_versions_in_order(self, world: World) -> None:
        """Fields come back as they were, in their order, with run and time; the newest version is the latest."""
        first = await world.schemas.record(E, [ID, ODD], version=1, run_id="r1")
        assert first == RecordedSchema(1, (ID, ODD), "r1", world.clock.now().isoformat())
        world.clock.advance(60)
        second = await world.schemas.record(E, [ODD], version=2, run_id="r2")
        assert await world.schemas.latest(E) == second
        assert await world.schemas.history(E) == [first, second]

    async def test_more_than_nine_versions(self, world: World) -> None:
        """They are ordered as numbers."""
        for version in range(1, 12):
            await world.schemas.record(E, [ID], version=version, run_id=f"r{version}")
        assert [found.version for found in await world.schemas.history(E)] == list(range(1, 12))
        latest = await world.schemas.latest(E)
        assert latest is not None
        assert (latest.version, latest.run_id) == (11, "r11")

    async def test_the_same_run_may_repeat_it(self, world: World) -> None:
        """It is told what was recorded, with the time of the first call."""
        first = await world.schemas.record(E, [ID], version=1, run_id="r1")
        world.clock.advance(60)
        assert await world.schemas.record(E, [ID], version=1, run_id="r1") == first

    async def test_a_version_is_recorded_once(self, world: World) -> None:
        """Another run of that version conflicts, even with the same fields; so does the same run with others."""
        first = await world.schemas.record(E, [ID], version=1, run_id="r1")
        for fields, run_id in (([ID], "r2"), ([ODD], "r1"), ([], "r1")):
            with pytest.raises(ConflictError):
                await world.schemas.record(E, fields, version=1, run_id=run_id)
        assert await world.schemas.history(E) == [first]

    async def test_entities_are_apart(self, world: World) -> None:
        """Also where one's name begins like another's."""
        await world.schemas.record(E, [ID], version=1, run_id="r1")
        await world.schemas.record(f"{E}_items", [ODD], version=1, run_id="r2")
        assert [found.run_id for found in await world.schemas.history(E)] == ["r1"]
        assert [found.run_id for found in await world.schemas.history(f"{E}_items")] == ["r2"]

    async def test_one_of_ten_runs(self, world: World) -> None:
        """Of ten runs that record a version at once one has it, and the others conflict."""
        calls = [world.schemas.record(E, [ID], version=1, run_id=f"r{n}") for n in range(10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        (winner,) = [answer for answer in answers if isinstance(answer, RecordedSchema)]
        assert sum(isinstance(answer, ConflictError) for answer in answers) == 9
        assert await world.schemas.latest(E) == winner

    @pytest.mark.parametrize("fate", [Fate.REQUEST_LOST, Fate.ANSWER_LOST, Fate.REPEATED])
    async def test_a_bad_network(self, world: World, fate: Fate) -> None:
        """A write that was lost, or whose answer was, is repeated by its run; one that came twice is its own."""
        world.network.next(fate)
        try:
            await world.faulty.record(E, [ID], version=1, run_id="r1")
        except UnreachableError:
            await world.faulty.record(E, [ID], version=1, run_id="r1")
        with pytest.raises(ConflictError):
            await world.schemas.record(E, [ID], version=1, run_id="r2")
        assert [found.run_id for found in await world.schemas.history(E)] == ["r1"]


class TestFakeEntitySchemas(EntitySchemasConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        clock = ManualClock()
        shared = FakeEntitySchemas(clock)
        return World(lambda _, network: shared.seen_by(Effects(network=network)), clock)


class TestDynamoEntitySchemas(EntitySchemasConformance):
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """One table of its own."""
        async with only_table(empty_stack, "schemas") as (clients, table):
            yield World(
                lambda clock, network: DynamoEntitySchemas(
                    NetworkedClient(clients.dynamodb, network).as_dynamodb(), table, clock
                )
            )

    async def test_observed_columns_share_the_table(self, empty_stack: Stack) -> None:
        """Neither of the two sees what the other keeps of an entity."""
        async with only_table(empty_stack, "schemas") as (clients, table):
            clock = ManualClock()
            versions = DynamoEntitySchemas(clients.dynamodb, table, clock)
            columns = DynamoObservedSchemas(clients.dynamodb, table, clock)
            await versions.record(E, [ID], version=1, run_id="r1")
            await columns.observe(E, ["00000001", "x"], run_id="r2")
            assert [seen.column for seen in await columns.list(E)] == ["00000001", "x"]
            assert [found.run_id for found in await versions.history(E)] == ["r1"]
