"""Secrets in memory, with the cache that the port promises."""

from collections import OrderedDict

from pydantic import SecretStr

from services.runtime.clock import Clock
from services.runtime.failures import MissingObjectError, PermanentError, UnreachableError
from tests.fakes.network import Network, NetworkFaultError, ScriptedNetwork


class FakeSecrets:
    """``Secrets`` over ``stored``, which tests fill and change: text, or bytes for a binary secret."""

    def __init__(
        self, clock: Clock, network: Network | None = None, *, ttl_s: float = 300.0, capacity: int = 64
    ) -> None:
        self.stored: dict[str, str | bytes] = {}
        self._clock = clock
        self._network: Network = network or ScriptedNetwork()
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._cache: OrderedDict[str, tuple[SecretStr, float]] = OrderedDict()

    async def read(self, reference: str, *, fresh: bool = False) -> SecretStr:
        """See the port."""
        value, until = self._cache.pop(reference, (SecretStr(""), float("-inf")))
        asked_at = self._clock.monotonic()
        if fresh or asked_at >= until:
            value, until = await self._ask(reference), asked_at + self._ttl_s
        self._cache[reference] = (value, until)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return value

    async def _ask(self, reference: str) -> SecretStr:
        async def look_up() -> str | bytes:
            if reference not in self.stored:
                raise MissingObjectError(f"read secret {reference}: there is no such secret")
            return self.stored[reference]

        try:
            found = await self._network.carry(look_up)
        except NetworkFaultError as fault:
            raise UnreachableError(f"read secret {reference}: {fault}") from fault
        text = found if isinstance(found, str) else found.decode(errors="replace")
        if "\N{REPLACEMENT CHARACTER}" in text:
            raise PermanentError(f"secret {reference} is neither text nor UTF-8")
        return SecretStr(text)
