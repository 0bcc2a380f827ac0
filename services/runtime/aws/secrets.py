"""Secrets from AWS Secrets Manager, cached for a bounded time and in a bounded number."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from pydantic import SecretStr

from services.runtime.aws.errors import translated
from services.runtime.clock import Clock
from services.runtime.failures import PermanentError

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager import SecretsManagerClient

TTL_S = 300.0
"""How long a rotated secret may still be served from the cache, seconds."""
CAPACITY = 64
"""Most secrets kept; the one that was read longest ago goes first."""


class SecretsManagerSecrets:
    """``Secrets`` by name or ARN. Values live in this object and in ``SecretStr`` only."""

    def __init__(
        self, client: "SecretsManagerClient", clock: Clock, *, ttl_s: float = TTL_S, capacity: int = CAPACITY
    ) -> None:
        self._client = client
        self._clock = clock
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._cache: OrderedDict[str, tuple[SecretStr, float]] = OrderedDict()

    async def read(self, reference: str, *, fresh: bool = False) -> SecretStr:
        """The secret's current text, at most ``ttl_s`` old; ``fresh`` asks again.

        Raises:
            PermanentError: there is no such secret, it may not be read, or it is not text.
            TemporaryError, UnreachableError: Secrets Manager does not answer now.
        """
        cached = self._cache.get(reference)
        if cached and not fresh and self._clock.monotonic() < cached[1]:
            self._cache.move_to_end(reference)
            return cached[0]
        # What was refused or is being rotated must not be served again, even if this read fails.
        self._cache.pop(reference, None)
        asked_at = self._clock.monotonic()
        value = await self._ask(reference)
        self._cache[reference] = (value, asked_at + self._ttl_s)
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return value

    async def _ask(self, reference: str) -> SecretStr:
        with translated(f"read secret {reference}"):
            answer = await self._client.get_secret_value(SecretId=reference)
        text = answer["SecretString"] if "SecretString" in answer else _text(answer["SecretBinary"])
        # Raised here and not where decoding failed: a UnicodeDecodeError carries the bytes it could not read.
        if text is None:
            raise PermanentError(f"secret {reference} is neither text nor UTF-8")
        return SecretStr(text)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
