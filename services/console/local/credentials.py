"""Passwords and keys of the sample servers: made once for a data directory, readable by its owner only."""

import json
import os
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.console.local.emulator import HOST

DATABASE = "shop"
INGEST = "tidegate_ingest"
"""Role that the services connect as: it may read, and nothing else."""
HOME_CARE = "home_care"
CHUNKS = "tidegate_chunks"
"""The conflict report's database, and the role that the services connect to it as: it owns that, and nothing else."""
OWNER = "postgres"

RDS_SECRET = "ecom-rds"  # noqa: S105 - a secret's name
OWNER_SECRET = "ecom-rds-owner"  # noqa: S105 - same
API_SECRET = "ecom-payments-api-key"  # noqa: S105 - same
CHUNKS_SECRET = "conflict-report-postgres"  # noqa: S105 - same
"""Names in Secrets Manager: of the services' connection, the shop's own (the demo changes rows), the API's key, and the
conflict report's connection."""

KEY_LENGTH = 48
_ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where each of them lies; every file holds one, without a line's end."""

    owner: Path
    ingest: Path
    api_key: Path
    chunks: Path

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Those of a data directory, made where they are missing; only its supervisor may call this."""
        home = folder / "secrets"
        home.mkdir(mode=0o700, exist_ok=True)
        found = cls(home / "postgres-owner", home / "postgres-ingest", home / "api-key", home / "postgres-chunks")
        _keep(found.owner, _password)
        _keep(found.ingest, _password)
        _keep(found.api_key, _key)
        _keep(found.chunks, _password)
        return found

    def documents(self, port: int) -> dict[str, str]:
        """What Secrets Manager holds of them, by name; ``port`` is PostgreSQL's."""
        return {
            RDS_SECRET: _connection(port, DATABASE, INGEST, self.ingest),
            OWNER_SECRET: _connection(port, DATABASE, OWNER, self.owner),
            CHUNKS_SECRET: _connection(port, HOME_CARE, CHUNKS, self.chunks),
            API_SECRET: json.dumps({"api_key": self.api_key.read_text(encoding="ascii")}),
        }


def _connection(port: int, database: str, user: str, password: Path) -> str:
    given = password.read_text(encoding="ascii")
    return json.dumps({"host": HOST, "port": port, "database": database, "username": user, "password": given})


def _password() -> str:
    return secrets.token_urlsafe(24)


def _key() -> str:
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(KEY_LENGTH))


def _keep(path: Path, make: Callable[[], str]) -> None:
    """Write a new value beside its place and move it there: whoever reads it reads all of it."""
    if path.exists():
        return
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(make())
    draft.replace(path)
