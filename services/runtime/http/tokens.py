"""Where a token that a source asks for comes from."""

import json
from typing import Protocol

from pydantic import SecretStr

from services.runtime.failures import PermanentError
from services.runtime.secrets import Secrets

KEY_MEMBER = "api_key"
"""Of a secret that is a JSON document."""
LEAST_KEY_CHARS = 20
"""API Gateway takes no shorter key."""


class TokenSource(Protocol):
    """Gives the token to send, or None where a source serves requests without one."""

    async def __call__(self, *, fresh: bool = False) -> SecretStr | None:
        """The token; ``fresh`` after it was refused, as it may have been replaced since.

        Raises:
            PermanentError: it cannot be read.
        """
        ...


async def no_token(*, fresh: bool = False) -> SecretStr | None:
    """There is no token, and no fresher one either."""
    del fresh
    return None


class ApiKey:
    """The API key that a secret holds: its text, or the member ``api_key`` of its JSON document."""

    def __init__(self, reference: str, secrets: Secrets) -> None:
        self._reference = reference
        self._secrets = secrets

    async def __call__(self, *, fresh: bool = False) -> SecretStr:
        """See ``TokenSource``.

        Raises:
            PermanentError: the secret is not there, or holds no letters and digits, at least 20 of them; the text names
                the reference only.
        """
        secret = await self._secrets.read(self._reference, fresh=fresh)
        key = _key_in(secret.get_secret_value().strip())
        if not (key.isascii() and key.isalnum() and len(key) >= LEAST_KEY_CHARS):
            raise PermanentError(
                f"secret {self._reference} holds no API key: at least {LEAST_KEY_CHARS} letters and digits,"
                f" as they are or as {KEY_MEMBER!r} of a JSON object"
            )
        return SecretStr(key)


def _key_in(text: str) -> str:
    """The key; empty where there is none. What is wrong is not said here: a JSON error shows the text."""
    if not text.startswith("{"):
        return text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    key = document.get(KEY_MEMBER)
    return key if isinstance(key, str) else ""
