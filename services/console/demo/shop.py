"""Makes the sample shop where it is missing: ``python -m services.console.demo.shop --port N …``.

The database is made beside its place and renamed when it is whole, so that half a shop is never served; what is there
is left alone. Everything in it follows from a seed and the day of its first start.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from services.console.demo.shop_api import open_commerce, payments_of, shipments_of
from services.console.demo.shop_tables import DICE, FILL, NAMES, TABLES, TOUCH
from services.console.local.credentials import DATABASE, INGEST, OWNER
from services.runtime.failures import TemporaryError, TidegateError

Connection: TypeAlias = "asyncpg.Connection[Any]"

SEED = 2026
CUSTOMERS = 400
"""Of the first start: five times as many orders, twice that in items."""
HISTORY_MINUTES = 10 * 24 * 60
READY_S = 40.0
_DRAFT = f"{DATABASE}_draft"
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the server as the shop's owner."""

    host: str
    port: int
    password: str

    async def connect(self, database: str = DATABASE) -> Connection:
        """A connection to one of its databases."""
        return await asyncpg.connect(
            host=self.host, port=self.port, user=OWNER, password=self.password, database=database
        )


@dataclass(frozen=True, slots=True)
class Size:
    """How much a new shop holds; all of it lies before ``until``."""

    until: datetime
    customers: int = CUSTOMERS
    seed: int = SEED
    minutes: int = HISTORY_MINUTES


async def prepare_database(access: Access, ingest_password: str, size: Size) -> bool:
    """Make the role that the services connect as, and the shop if there is none; True if it was made.

    Raises:
        TemporaryError: the server does not answer within READY_S seconds.
    """
    server = await patient(access)
    try:
        await _make_role(server, ingest_password)
        if await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            return False
        await server.execute(f"DROP DATABASE IF EXISTS {_DRAFT}")
        await server.execute(f"CREATE DATABASE {_DRAFT}")
        draft = await access.connect(_DRAFT)
        try:
            await fill(draft, size)
            await grant(draft)
        finally:
            await draft.close()
        await server.execute(f"ALTER DATABASE {_DRAFT} RENAME TO {DATABASE}")
    finally:
        await server.close()
    return True


async def fill(connection: Connection, size: Size) -> None:
    """Create the tables of an empty database and put the first rows into them."""
    async with connection.transaction():
        for statement in (*TABLES, DICE):
            await connection.execute(statement)
        for statement in FILL:
            await connection.execute(statement, size.seed, size.until, size.minutes, size.customers)
        for statement in TOUCH:
            await connection.execute(statement)
    await connection.execute("ANALYZE")


async def grant(connection: Connection) -> None:
    """Let the services' role read the tables."""
    await connection.execute(f"GRANT USAGE ON SCHEMA public TO {INGEST}")
    for name in NAMES:
        await connection.execute(f"GRANT SELECT ON {name} TO {INGEST}")


async def _make_role(server: Connection, password: str) -> None:
    if not await server.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", INGEST):
        await server.execute(f"CREATE ROLE {INGEST} LOGIN")
    words = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
    await server.execute(await server.fetchval(words, INGEST, password))
    # Its plans must see every open transaction, whoever's, to know up to where nothing can be committed any more.
    await server.execute(f"GRANT pg_read_all_stats TO {INGEST}")


async def patient(access: Access) -> Connection:
    """The first connection to a server that may still be starting.

    Raises:
        TemporaryError: it does not answer within READY_S seconds.
    """
    deadline = time.monotonic() + READY_S
    while True:
        try:
            return await access.connect("postgres")
        except (OSError, asyncpg.CannotConnectNowError) as error:
            if time.monotonic() > deadline:
                raise TemporaryError(f"PostgreSQL did not answer within {READY_S:.0f} s: {error}") from error
            await asyncio.sleep(_POLL_S)


async def prepare(access: Access, ingest_password: str, url: str) -> None:
    """Make what is missing of the database and of the API's records."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await prepare_database(access, ingest_password, Size(until=midnight))
    async with open_commerce(url) as api:
        await api.ready(READY_S)
        if await api.is_empty():
            shop = await access.connect()
            try:
                orders = await shop.fetch("SELECT order_id, total, ordered_at FROM orders ORDER BY order_id")
            finally:
                await shop.close()
            await api.put("payments", payments_of(orders, SEED))
            await api.put("shipments", shipments_of(orders, SEED))


def main(arguments: Sequence[str]) -> int:
    """Prepare the shop that the options name; 1 with one line on standard error where it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m services.console.demo.shop", description="the sample shop")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="of PostgreSQL")
    parser.add_argument("--owner-file", type=Path, required=True, help="holds the superuser's password")
    parser.add_argument("--ingest-file", type=Path, required=True, help="holds the password of the services' role")
    parser.add_argument("--api", required=True, help="the commerce API's base address")
    options = parser.parse_args(arguments)
    owner, ingest = (path.read_text(encoding="ascii") for path in (options.owner_file, options.ingest_file))
    try:
        asyncio.run(prepare(Access(options.host, options.port, owner), ingest, options.api))
    except (TidegateError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
