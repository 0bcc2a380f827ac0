"""Documents of the embedded stack in the emulator's Secrets Manager."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.runtime.aws.clients import Clients
from services.runtime.aws.errors import translated

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager import SecretsManagerClient


async def publish(clients: Clients, documents: Mapping[str, str]) -> None:
    """Put documents into Secrets Manager, under their names; what is there is replaced.

    Raises:
        TidegateError: it refuses them or does not answer; the text names the secret only.
    """
    for name, document in documents.items():
        with translated(f"put secret {name}"):
            await _put(clients.secretsmanager, name, document)


async def _put(manager: "SecretsManagerClient", name: str, document: str) -> None:
    try:
        await manager.create_secret(Name=name, SecretString=document)
    except manager.exceptions.ResourceExistsException:
        await manager.put_secret_value(SecretId=name, SecretString=document)
