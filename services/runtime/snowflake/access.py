"""How to reach Snowflake: what a secret says, and the driver, which only the extra ``tidegate[snowflake]`` brings."""

import importlib
import json
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.secrets import Secrets

NETWORK_TIMEOUT_S = 120
"""Of one request; a query that takes longer is asked for again and again."""

# Text forms that Snowflake reads back as it wrote them, so that keys can travel as text.
_TEXT_FORMS = {
    "TIMEZONE": "UTC",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF9",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9',
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
    "TIMESTAMP_TZ_OUTPUT_FORMAT": 'YYYY-MM-DD"T"HH24:MI:SS.FF9TZH:TZM',
    "BINARY_INPUT_FORMAT": "HEX",
    "BINARY_OUTPUT_FORMAT": "HEX",
}
_QUIET = {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False, "CLIENT_TELEMETRY_ENABLED": False}


class SnowflakeLogin(BaseModel):
    """The JSON document of a secret; members that nobody needs may be in it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    account: str = Field(min_length=1)
    user: str = Field(min_length=1, validation_alias=AliasChoices("user", "username"))
    password: SecretStr
    warehouse: str | None = Field(default=None, min_length=1)
    database: str = Field(min_length=1)
    schema_: str | None = Field(default=None, min_length=1, validation_alias="schema")
    role: str | None = Field(default=None, min_length=1)
    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535)
    protocol: str | None = Field(default=None, pattern=r"^https?$")

    def arguments(self, *, login_timeout_s: int) -> dict[str, Any]:
        """What the driver is called with; the password is plain text in it."""
        given = {
            "account": self.account,
            "user": self.user,
            "password": self.password.get_secret_value(),
            "warehouse": self.warehouse,
            "database": self.database,
            "schema": self.schema_,
            "role": self.role,
            "host": self.host,
            "port": self.port,
            "protocol": self.protocol,
        }
        return {name: value for name, value in given.items() if value is not None} | {
            "paramstyle": "qmark",
            "arrow_number_to_decimal": True,
            "login_timeout": login_timeout_s,
            "network_timeout": NETWORK_TIMEOUT_S,
            "session_parameters": _TEXT_FORMS | _QUIET,
        }


def driver() -> Any:
    """The driver's module.

    Raises:
        BadDeclarationError: it is not installed; the text says how it is.
    """
    try:
        return importlib.import_module("snowflake.connector")
    except ModuleNotFoundError as error:
        if error.name not in {"snowflake", "snowflake.connector"}:
            raise
        raise BadDeclarationError(
            "source.kind 'snowflake' needs a driver that is not installed: pip install tidegate[snowflake]"
        ) from error


async def read_login(secrets: Secrets, reference: str, *, fresh: bool = False) -> SnowflakeLogin:
    """What the secret of this name or ARN says; ``fresh`` asks again, after it was refused.

    Raises:
        PermanentError: there is no such secret, it may not be read, or it does not say how to log in; the text names
            what is wrong and never shows what is in it.
        TemporaryError, UnreachableError: the secret cannot be read now.
    """
    secret = await secrets.read(reference, fresh=fresh)
    found = _parsed(secret.get_secret_value())
    # Raised here and not where reading failed: those errors carry the text that they could not read.
    if isinstance(found, str):
        raise PermanentError(f"secret {reference} does not say how to log in to Snowflake: {found}")
    return found


def _parsed(text: str) -> SnowflakeLogin | str:
    """The login, or what is wrong with the text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if not isinstance(document, dict):
        return "it is not a JSON object"
    try:
        return SnowflakeLogin.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details)
