"""The source: a private PostgreSQL server with one table of orders, made once for all runs."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import asyncpg

from tests.postgres_support import Database, PostgresServer

TABLE = "orders"
KEY, CURSOR, EVENT_DATE = "order_id", "updated_at", "ordered_at"
DAYS = 90
MARGIN_S = 3_600
"""The newest row is so old, so that no lag of any candidate matters where nothing changes."""
MEMORY = ("shared_buffers=1GB", "max_wal_size=4GB")
"""The table stays in the server's memory: what is compared is not its disk."""

T = TypeVar("T")

_CREATE = """
CREATE TABLE orders (
    order_id bigint PRIMARY KEY, customer_id bigint NOT NULL, amount numeric(12,2) NOT NULL, ordered_at timestamptz
    NOT NULL, updated_at timestamptz NOT NULL, due_on date NOT NULL, status text NOT NULL, currency char(3) NOT NULL,
    is_gift boolean NOT NULL, note text, quantity integer NOT NULL
)
"""
# A multiplication by a prime spreads values without any state, so that the table is the same in every run.
_FILL = """
INSERT INTO orders
SELECT n, (n * 7919) % 250000, ((n * 104729) % 10000000)::numeric / 100, at, at + interval '1 minute',
       (at AT TIME ZONE 'UTC')::date + 14, (ARRAY['placed', 'paid', 'packed', 'shipped', 'returned'])[1 + n % 5],
       (ARRAY['EUR', 'USD', 'GBP'])[1 + n % 3], n % 17 = 0,
       CASE WHEN n % 4 = 0 THEN 'leave at the door of number ' || (n * 31) % 997 END, (1 + n % 9)::integer
FROM generate_series($1::bigint, $2::bigint) AS n,
     LATERAL (SELECT $3::timestamptz - make_interval(secs => ($2 - n)::double precision * $4 / $5)) AS moment(at)
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A server with the table."""

    database: Database
    rows: int

    @property
    def url(self) -> str:
        """The address with the password, as SQLAlchemy and libpq know it."""
        place = json.loads(self.database.secret)
        return "postgresql://{username}:{password}@{host}:{port}/{database}".format(**place)

    def do(self, statement: str, *values: object) -> list[Any]:
        """Execute a statement in a transaction of its own and return its rows."""

        async def ask() -> list[Any]:
            connection = await self.database.connect()
            try:
                return list(await connection.fetch(statement, *values))
            finally:
                await connection.close()

        return run(ask())


@contextmanager
def source(rows: int) -> Iterator[Source]:
    """Start a server and fill it."""
    with TemporaryDirectory(prefix="bench-bronze-source-") as folder:
        server = PostgresServer(Path(folder), settings=MEMORY)
        server.start()
        try:
            database = server.new_database()
            made = Source(database, rows)
            fill(made, rows)
            yield made
        finally:
            server.stop()


def fill(made: Source, rows: int) -> None:
    """Make the table: its rows are of 90 days, spread evenly, the newest an hour old."""

    async def work() -> None:
        connection: asyncpg.Connection[Any] = await made.database.connect()
        try:
            await connection.execute(_CREATE)
            newest = await connection.fetchval("SELECT now() - make_interval(secs => $1)", float(MARGIN_S))
            await connection.execute(_FILL, 1, rows, newest, float(DAYS * 86_400), float(rows), timeout=600)
            await connection.execute(f"CREATE INDEX ON {TABLE} ({CURSOR})", timeout=600)
            await connection.execute(f"VACUUM ANALYZE {TABLE}", timeout=600)
        finally:
            await connection.close()

    run(work())


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
