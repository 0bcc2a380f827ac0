"""Watermarks in memory."""

from collections.abc import Callable
from typing import TypeVar

from services.runtime.clock import Clock
from services.runtime.failures import ConflictError, UnreachableError
from services.runtime.watermarks import Watermark
from tests.fakes.network import Network, NetworkFaultError, ScriptedNetwork

T = TypeVar("T")


class FakeWatermarks:
    """``Watermarks`` that recognise their own write by identity, as the real ones do by its stamp."""

    def __init__(self, clock: Clock, network: Network | None = None) -> None:
        self.records: dict[str, Watermark] = {}
        self._clock = clock
        self._network: Network = network or ScriptedNetwork()

    async def read(self, name: str) -> Watermark | None:
        """See the port."""
        return await self._call(lambda: self.records.get(name))

    async def advance(
        self, name: str, cursor: str, *, expected_version: int, run_id: str, complete_until: str | None = None
    ) -> Watermark:
        """See the port."""
        wanted = self._wanted(name, cursor, expected_version, run_id, complete_until)
        return await self._swap(wanted, expected_version, backwards=False)

    async def reset(self, name: str, cursor: str | None, *, expected_version: int, run_id: str) -> Watermark:
        """See the port."""
        wanted = self._wanted(name, cursor, expected_version, run_id, None)
        return await self._swap(wanted, expected_version, backwards=True)

    async def list(self) -> list[Watermark]:
        """See the port."""
        return await self._call(lambda: [self.records[name] for name in sorted(self.records)])

    def _wanted(
        self, name: str, cursor: str | None, expected: int, run_id: str, complete_until: str | None
    ) -> Watermark:
        return Watermark(name, cursor, expected + 1, run_id, self._clock.now().isoformat(), complete_until)

    async def _swap(self, wanted: Watermark, expected: int, *, backwards: bool) -> Watermark:
        name, cursor = wanted.name, wanted.cursor

        def swap() -> Watermark:
            old = self.records.get(name)
            version, reached = (old.version, old.cursor) if old else (0, None)
            if version != expected:
                raise ConflictError(f"watermark {name}: at version {version}, not {expected}")
            if not backwards and cursor is not None and reached is not None and cursor < reached:
                raise ConflictError(f"watermark {name}: {cursor!r} would go back from {reached!r}")
            self.records[name] = wanted
            return wanted

        try:
            return await self._call(swap)
        except (ConflictError, UnreachableError):
            if await self._call(lambda: self.records.get(name)) is wanted:
                return wanted
            raise

    async def _call(self, effect: Callable[[], T]) -> T:
        async def happen() -> T:
            return effect()

        try:
            return await self._network.carry(happen)
        except NetworkFaultError as fault:
            raise UnreachableError(f"watermarks: {fault}") from fault
