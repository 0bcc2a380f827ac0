"""The side effects of the fakes, one by one: recorded, put through a network, and places to be killed at."""

from collections.abc import Callable
from typing import TypeVar

from services.runtime.failures import UnreachableError
from tests.fakes.network import Network, NetworkFaultError, ScriptedNetwork

T = TypeVar("T")


class KilledError(BaseException):
    """The process ended here. Not an Exception: no code under test may handle its own death."""


class Effects:
    """What one process does to the world. Fakes that belong to the same process share one instance.

    ``hook`` is called with ``before {name}`` and ``after {name}`` of every effect and may raise: KilledError to end
    the process there, anything else to make that one call fail. ``network`` loses or repeats requests and answers;
    the caller sees an UnreachableError, as it would from the adapters.
    """

    def __init__(self, hook: Callable[[str], None] | None = None, network: Network | None = None) -> None:
        self.performed: list[str] = []
        self.network = network or ScriptedNetwork()
        self._hook = hook

    async def perform(self, name: str, action: Callable[[], T]) -> T:
        """Do one thing to the backend, atomically, and return its answer."""

        async def happen() -> T:
            self.performed.append(name)
            return action()

        self.reach(f"before {name}")
        try:
            answer = await self.network.carry(happen)
        except NetworkFaultError as fault:
            raise UnreachableError(f"{name}: {fault}") from fault
        self.reach(f"after {name}")
        return answer

    def reach(self, place: str) -> None:
        """Tell the hook that the process has come to this place."""
        if self._hook is not None:
            self._hook(place)


class KillSwitch:
    """A hook that ends the process at the n-th place it reaches, counted from 1.

    A dead process does nothing more: whatever its ``finally`` blocks still try is killed, too. Without a number
    it only records the places, of which a run that ends normally gives the count.
    """

    def __init__(self, kill_at: int | None = None) -> None:
        self.places: list[str] = []
        self.dead = False
        self._kill_at = kill_at

    def __call__(self, place: str) -> None:
        """Pass this place, or die here."""
        if self.dead:
            raise KilledError(f"dead before {place}")
        self.places.append(place)
        if len(self.places) == self._kill_at:
            self.dead = True
            raise KilledError(place)
