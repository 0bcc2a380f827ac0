"""Where the portal's application token comes from."""

from pydantic import SecretStr

from services.runtime.failures import PermanentError
from services.runtime.secrets import Secrets

BY_REFERENCE = "secretsmanager:"
"""How a setting begins that names a secret instead of being one."""


class AppToken:
    """The token that a setting holds, or that the secret holds which the setting names (``secretsmanager:NAME``)."""

    def __init__(self, setting: SecretStr | None, secrets: Secrets) -> None:
        self._text = SecretStr("" if setting is None else setting.get_secret_value().strip())
        self._secrets = secrets

    async def __call__(self, *, fresh: bool = False) -> SecretStr | None:
        """See ``TokenSource``; a setting that is empty is no token."""
        text = self._text.get_secret_value()
        if text.startswith(BY_REFERENCE):
            reference = text.removeprefix(BY_REFERENCE)
            secret = await self._secrets.read(reference, fresh=fresh)
            return _checked(secret.get_secret_value().strip(), f"secret {reference}")
        return _checked(text, "the application token") if text else None


def _checked(text: str, what: str) -> SecretStr:
    """A token that a header can carry.

    Raises:
        PermanentError: this one it cannot; the text does not show it.
    """
    if not (text.isascii() and text.isprintable() and text):
        raise PermanentError(f"{what} is not an application token: it is empty or has odd characters")
    return SecretStr(text)
