"""What every implementation of the Secrets port does."""

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from services.runtime.aws.clients import Clients
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.failures import PermanentError, UnreachableError
from services.runtime.secrets import Secrets
from tests.emulator_support import Stack
from tests.fakes.clock import ManualClock
from tests.fakes.network import Fate, NetworkedClient, ScriptedNetwork
from tests.fakes.secrets import FakeSecrets

TTL_S = 60.0
CAPACITY = 2
VALUE, ROTATED = "hunter2-first", "hunter2-second"


@dataclass
class World:
    """One implementation, and the hand that stores and rotates the secrets it reads."""

    secrets: Secrets
    store: Callable[[str, str | bytes], Awaitable[None]]
    clock: ManualClock
    network: ScriptedNetwork = field(default_factory=ScriptedNetwork)

    async def text(self, reference: str, *, fresh: bool = False) -> str:
        """What is read, laid open."""
        return (await self.secrets.read(reference, fresh=fresh)).get_secret_value()


class SecretsConformance:
    """Subclasses give a ``world`` fixture with a cache of TTL_S and CAPACITY."""

    async def test_text(self, world: World) -> None:
        """Text, and binary that is UTF-8, come back as text."""
        await world.store("db", VALUE)
        await world.store("key", "pässword".encode())
        assert await world.text("db") == VALUE
        assert await world.text("key") == "pässword"

    async def test_cached_for_a_bounded_time(self, world: World) -> None:
        """A rotated secret is served from the cache until the bound, and not at it."""
        await world.store("db", VALUE)
        assert await world.text("db") == VALUE
        await world.store("db", ROTATED)
        world.clock.advance(TTL_S - 0.001)
        assert await world.text("db") == VALUE
        assert world.network.carried == 1
        world.clock.advance(0.001)
        assert await world.text("db") == ROTATED

    async def test_fresh(self, world: World) -> None:
        """Asking for a fresh value asks again, and what comes back is what is served from then on."""
        await world.store("db", VALUE)
        await world.text("db")
        await world.store("db", ROTATED)
        assert await world.text("db", fresh=True) == ROTATED
        assert await world.text("db") == ROTATED
        assert world.network.carried == 2

    async def test_cached_in_a_bounded_number(self, world: World) -> None:
        """Above its capacity the cache forgets what was read longest ago, and only that."""
        for name in ("a", "b", "c"):
            await world.store(name, name)
        await world.text("a")
        await world.text("b")
        await world.text("a")
        await world.text("c")
        asked = world.network.carried
        await world.text("a")
        await world.text("c")
        assert world.network.carried == asked
        await world.text("b")
        assert world.network.carried == asked + 1

    async def test_missing(self, world: World) -> None:
        """A secret that is not there is an error that names it, and is not remembered as missing."""
        with pytest.raises(PermanentError, match="nowhere"):
            await world.secrets.read("nowhere")
        await world.store("nowhere", VALUE)
        assert await world.text("nowhere") == VALUE

    async def test_failed_refresh(self, world: World) -> None:
        """A fresh read that fails does not bring back the value that was refused."""
        await world.store("db", VALUE)
        await world.text("db")
        await world.store("db", ROTATED)
        world.network.next(Fate.REQUEST_LOST)
        with pytest.raises(UnreachableError, match="db"):
            await world.secrets.read("db", fresh=True)
        assert await world.text("db") == ROTATED

    async def test_value_never_shows(self, world: World) -> None:
        """Neither the value nor the adapter shows it to a log, a traceback or a person."""
        await world.store("db", VALUE)
        value = await world.secrets.read("db")
        for shown in (repr(value), str(value), f"{value}", repr(world.secrets), str(vars(world.secrets)["_cache"])):
            assert VALUE not in shown

    async def test_error_never_shows_the_value(self, world: World) -> None:
        """A secret that is not text is an error without its bytes, in the text and in every chained error."""
        await world.store("blob", VALUE.encode() + b"\xff\xfe")
        with pytest.raises(PermanentError, match="blob") as refused:
            await world.secrets.read("blob")
        assert VALUE not in "".join(traceback.format_exception(refused.value))
        error: BaseException | None = refused.value
        while error is not None:
            assert not any(isinstance(part, bytes) for part in error.args)
            error = error.__cause__ or error.__context__


class TestFakeSecrets(SecretsConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        clock, network = ManualClock(), ScriptedNetwork()
        secrets = FakeSecrets(clock, network, ttl_s=TTL_S, capacity=CAPACITY)

        async def store(name: str, value: str | bytes) -> None:
            secrets.stored[name] = value

        return World(secrets, store, clock, network)


class TestSecretsManagerSecrets(SecretsConformance):
    """The adapter on the emulator."""

    @pytest.fixture
    async def world(self, empty_stack: Stack) -> AsyncIterator[World]:
        """An account of its own, without secrets."""
        clock, network = ManualClock(), ScriptedNetwork()
        assert empty_stack.account
        async with Clients() as clients:
            manager = clients.secretsmanager
            stored: set[str] = set()

            async def store(name: str, value: str | bytes) -> None:
                if name not in stored:
                    await manager.create_secret(Name=name)
                    stored.add(name)
                if isinstance(value, str):
                    await manager.put_secret_value(SecretId=name, SecretString=value)
                else:
                    await manager.put_secret_value(SecretId=name, SecretBinary=value)

            client = NetworkedClient(manager, network).as_secretsmanager()
            yield World(SecretsManagerSecrets(client, clock, ttl_s=TTL_S, capacity=CAPACITY), store, clock, network)
