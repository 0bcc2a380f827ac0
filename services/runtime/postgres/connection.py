"""Connections by what a secret says, and one for one piece of reading, of one moment, that can change nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import structlog

from services.runtime.postgres.access import ConnectionParameters, PostgresAccess
from services.runtime.postgres.errors import REFUSED, translated

log = structlog.get_logger()

APPLICATION = "tidegate"
CONNECT_S = 10.0
LOCK_S = 10
"""How long a statement waits for a lock, seconds: whoever changes a table goes first, and the reader comes again."""

Connection: TypeAlias = "asyncpg.Connection[Any]"


@asynccontextmanager
async def reading(
    access: PostgresAccess, reference: str, *, statement_timeout_s: int
) -> AsyncIterator[tuple[Connection, ConnectionParameters]]:
    """A transaction on the database that a secret names: read-only, of one snapshot, with times in UTC.

    What it is set to lasts as long as the transaction, so that a pool in front of the server passes nothing on.

    Raises:
        PermanentError: the secret is wrong, the password is refused although it was read anew, or a statement in the
            block is refused.
        TemporaryError: the server does not answer now, or broke off.
    """
    connection, parameters = await connect(access, reference)
    try:
        with translated(parameters.place):
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(_settings(statement_timeout_s))
                yield connection, parameters
    finally:
        await leave(connection)


def _settings(statement_timeout_s: int) -> str:
    """Names resolve to the server's own functions and operators only, whatever lies in anybody's schema."""
    settings = {
        "search_path": "pg_catalog",
        "timezone": "UTC",
        "datestyle": "ISO",
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "statement_timeout": f"{statement_timeout_s}s",
        "lock_timeout": f"{LOCK_S}s",
    }
    return ";".join(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())


async def connect(access: PostgresAccess, reference: str) -> tuple[Connection, ConnectionParameters]:
    """A connection to the database that a secret names; the secret is read anew if its password is refused.

    Raises:
        PermanentError: the secret is wrong, or the password is refused although it was read anew.
        TemporaryError: the server does not answer now, or has no connection left.
    """
    parameters = await access.parameters(reference)
    with translated(f"connect to {parameters.place}"):
        try:
            return await _open(parameters), parameters
        except asyncpg.PostgresError as error:
            if error.sqlstate not in REFUSED:
                raise
            log.info("connection refused: reading its secret anew", secret=reference, database=parameters.place)
    parameters = await access.parameters(reference, fresh=True)
    with translated(f"connect to {parameters.place}"):
        return await _open(parameters), parameters


async def _open(parameters: ConnectionParameters) -> Connection:
    how: dict[str, Any] = {} if parameters.sslmode is None else {"ssl": parameters.sslmode}
    return await asyncpg.connect(
        host=parameters.host,
        port=parameters.port,
        user=parameters.user,
        password=parameters.password.get_secret_value(),
        database=parameters.database,
        timeout=CONNECT_S,
        statement_cache_size=0,  # names of prepared statements do not survive a pool in front of the server
        server_settings={"application_name": APPLICATION},
        **how,
    )


async def leave(connection: Connection) -> None:
    """Close a connection; what was under way on it ends."""
    try:
        await connection.close(timeout=CONNECT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # What was done was done: that the goodbye was lost changes nothing.
        log.info("connection not closed in order", error=str(error))
