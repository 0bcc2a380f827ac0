"""Secrets by reference; values never appear in logs, messages, the ledger or error texts."""

from typing import Protocol

from pydantic import SecretStr


class Secrets(Protocol):
    """Reads secrets."""

    async def read(self, reference: str, *, fresh: bool = False) -> SecretStr:
        """The secret's text. Cached for a bounded time; ``fresh`` asks again (after an authentication failure).

        Raises:
            PermanentError: there is no such secret, or it may not be read; the text names the reference only.
        """
        ...
