"""How to reach a database: connection parameters out of a secret, which alone knows them."""

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from services.runtime.failures import PermanentError
from services.runtime.secrets import Secrets

PORT = 5432


@dataclass(frozen=True, slots=True)
class ConnectionParameters:
    """Where a database is and who asks; its ``repr`` does not show the password."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    sslmode: str | None = None
    """As in libpq; None leaves it to the driver."""

    @property
    def place(self) -> str:
        """The database, for people: ``host:port/database``."""
        return f"{self.host}:{self.port}/{self.database}"


class PostgresAccess:
    """Reads connection secrets: JSON as Secrets Manager keeps it for RDS, members that nobody needs included."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def parameters(self, reference: str, *, fresh: bool = False) -> ConnectionParameters:
        """What the secret of this name or ARN says; ``fresh`` asks again, after a password was refused.

        Raises:
            PermanentError: there is no such secret, it may not be read, or it does not say how to connect; the text
                names what is wrong and never shows what is in it.
            TemporaryError, UnreachableError: the secret cannot be read now.
        """
        secret = await self._secrets.read(reference, fresh=fresh)
        read = _read(secret.get_secret_value())
        # Raised here and not where reading failed: those errors carry the text that they could not read.
        if isinstance(read, str):
            raise PermanentError(f"secret {reference} does not say how to connect: {read}")
        return read


_Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore")

    host: _Text
    port: int = Field(default=PORT, ge=1, le=65_535)
    database: _Text = Field(validation_alias=AliasChoices("database", "dbname"))
    user: _Text = Field(validation_alias=AliasChoices("username", "user"))
    password: str
    sslmode: str | None = Field(default=None, pattern=r"^(disable|allow|prefer|require|verify-ca|verify-full)$")


def _read(text: str) -> ConnectionParameters | str:
    """The parameters, or what is wrong with the text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if not isinstance(document, dict):
        return "it is not a JSON object"
    try:
        found = _Document.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details)
    return ConnectionParameters(
        host=found.host,
        port=found.port,
        database=found.database,
        user=found.user,
        password=SecretStr(found.password),
        sslmode=found.sslmode,
    )
