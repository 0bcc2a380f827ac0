"""Business goes on in the sample shop: a day's changes, a transaction that commits late, new columns, lost rights."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.console.demo.dice import Dice
from services.console.demo.shop import Access, Connection
from services.console.demo.shop_api import CommerceApi, Record, payments_of, shipments_of, zulu
from services.console.local.credentials import INGEST

NEW_ORDERS = 60
NEW_CUSTOMERS = 12
LATE_NOTE = "committed late"
"""In the rows of the transaction that commits late."""
CHANGED_RECORDS = 40
"""A day's, of payments and of shipments each."""

_DAY: Sequence[str] = (
    """
    INSERT INTO customers (customer_id, email, full_name, country, newsletter, tags, created_at)
    SELECT n, 'new' || n || '@example.com', E'New "customer"\n' || n, 'FR', n % 2 = 0, ARRAY['new', NULL], now()
    FROM (SELECT max(customer_id) AS last FROM customers) c, generate_series(last + 1, last + $2) n WHERE $1 > 0
    """,
    """
    INSERT INTO orders (order_id, customer_id, status, total, currency, ordered_at)
    SELECT n, 1 + n % 300, 'placed', 10 + n % 90 + 0.99, 'EUR', now() - interval '1 hour'
    FROM (SELECT max(order_id) AS last FROM orders) o, generate_series(last + 1, last + $2 * 5) n WHERE $1 > 0
    """,
    """
    INSERT INTO order_items (order_id, line, product_id, quantity, unit_price, ordered_on)
    SELECT order_id, line, 1 + order_id % 90, line, total / 3, (ordered_at AT TIME ZONE 'UTC')::date
    FROM (SELECT * FROM orders ORDER BY order_id DESC LIMIT $2 * 5) o, generate_series(1, 2) line WHERE $1 > 0
    """,
    "UPDATE orders SET status = 'shipped', note = 'day ' || $1::int WHERE order_id % 40 = $1 % 40 AND $2::int > 0",
    "UPDATE order_items SET quantity = quantity + 1 WHERE order_id % 40 = $1 % 40 AND $2::int > 0",
    "UPDATE products SET price = price * 1.10, stock = stock - 1 WHERE product_id % 9 = $1 % 9 AND $2::int > 0",
    "UPDATE products SET deleted_at = now() AT TIME ZONE 'UTC' WHERE product_id = 20 + $1 AND $2::int > 0",
    "UPDATE customers SET deleted_at = now() WHERE customer_id % 90 = $1 % 90 AND deleted_at IS NULL AND $2::int > 0",
)
"""Parameters of each: the day's number, from 1, and how many customers are new."""


@dataclass(frozen=True, slots=True)
class Late:
    """A transaction that is still open; its rows already have their ``updated_at``."""

    connection: Connection
    rows: int

    async def commit(self) -> None:
        """Let everybody see it."""
        await self.connection.execute("COMMIT")


class Shop:
    """What the shop's own applications do."""

    def __init__(self, access: Access, connection: Connection, api: CommerceApi) -> None:
        self._access = access
        self.connection = connection
        self.api = api

    async def changes(self, day: int) -> None:
        """New customers and orders, changed and softly deleted rows, new and changed payments and shipments."""
        async with self.connection.transaction():
            for statement in _DAY:
                await self.connection.execute(statement, day, NEW_CUSTOMERS)
        newest = await self.connection.fetch(
            "SELECT order_id, total, now() AS ordered_at FROM orders ORDER BY order_id DESC LIMIT $1", NEW_ORDERS
        )
        now = datetime.now(UTC)
        payments = await self._changed("payments", day) + payments_of(newest, day)
        shipments = await self._changed("shipments", day) + shipments_of(newest, day)
        await self.api.put("payments", [each | {"updated_at": zulu(now)} for each in payments])
        await self.api.put("shipments", [each | {"updated_at": zulu(now)} for each in shipments])

    async def _changed(self, entity: str, day: int) -> list[Record]:
        known = await self.api.records(entity)
        dice = Dice(day)
        chosen = dice.shuffled(known)[:CHANGED_RECORDS]
        return [_plain(each) | {"status": f"changed on day {day}"} for each in chosen]

    @asynccontextmanager
    async def late(self) -> AsyncIterator[Late]:
        """A transaction of somebody else that has changed orders and has not committed yet; given up at the end."""
        connection = await self._access.connect()
        try:
            await connection.execute("BEGIN")
            done = await connection.execute("UPDATE orders SET note = $1 WHERE order_id % 100 = 77", LATE_NOTE)
            yield Late(connection, int(done.split()[-1]))
        finally:
            await connection.close()

    async def evolve(self) -> None:
        """A new column, with values in some rows, and a type that became too narrow."""
        async with self.connection.transaction():
            await self.connection.execute("ALTER TABLE orders ADD COLUMN channel text")
            await self.connection.execute("ALTER TABLE order_items ALTER COLUMN quantity TYPE bigint")
            await self.connection.execute("UPDATE orders SET channel = 'app' WHERE order_id % 50 = 3")
            await self.connection.execute(
                "UPDATE order_items SET quantity = 5000000000 WHERE order_id % 100 = 5 AND line = 1"
            )

    async def revoke(self, table: str) -> None:
        """Take the services' right to read a table."""
        await self.connection.execute(f"REVOKE SELECT ON {table} FROM {INGEST}")  # noqa: S608 - our names

    async def grant(self, table: str) -> None:
        """Give it back."""
        await self.connection.execute(f"GRANT SELECT ON {table} TO {INGEST}")


def _plain(record: Record) -> dict[str, Any]:
    """A record that can be written as JSON again."""
    return {name: float(value) if name in {"amount", "weight_kg"} else value for name, value in record.items()}
