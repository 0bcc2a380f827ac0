"""The sample shop: its generator against a real PostgreSQL, and what happens to it over restarts of the stack."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.console.demo.shop import Access, Connection, Size, fill, prepare_database
from services.console.demo.shop_api import CommerceApi, payments_of, shipments_of
from services.console.demo.shop_changes import LATE_NOTE, Shop
from services.console.demo.shop_tables import NAMES
from services.console.demo.shop_versions import API, KEYS, Versions, differences
from services.console.local import stack
from services.console.local.credentials import INGEST
from services.console.local.processes import tagged
from services.console.local.state import DataDir, exports
from services.console.local.status import status
from services.runtime.declarations import load_pipelines
from services.runtime.settings import PROJECT
from tests.postgres_support import Database, PostgresServer

UNTIL = datetime(2026, 1, 31, tzinfo=UTC)
SIZE = Size(until=UNTIL, customers=200)


class FakeApi(CommerceApi):
    """Keeps the records that are put."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {"payments": {}, "shipments": {}}

    async def put(self, entity: str, records: Any) -> None:
        """By key, each as JSON would carry it."""
        [key] = KEYS[entity]
        self.kept[entity] |= {each[key]: json.loads(json.dumps(each)) for each in records}

    async def records(self, entity: str) -> list[dict[str, Any]]:
        """All of them."""
        return list(self.kept[entity].values())


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """The owner's connection to a shop that was just made."""
    connection = await database.connect()
    await fill(connection, SIZE)
    yield connection
    await connection.close()


@pytest.fixture
async def shop(connection: Connection, database: Database) -> Shop:
    """The shop with an API of the test's own."""
    api = FakeApi()
    orders = await connection.fetch("SELECT order_id, total, ordered_at FROM orders ORDER BY order_id")
    await api.put("payments", payments_of(orders, SIZE.seed))
    await api.put("shipments", shipments_of(orders, SIZE.seed))

    class Here(Access):
        async def connect(self, database: str = "") -> Connection:  # noqa: ARG002 - the test's own database
            return await here.connect()

    here = database
    return Shop(Here("", 0, ""), connection, api)


async def _content(connection: Connection) -> dict[str, str]:
    found = {}
    for name in NAMES:
        sql = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"  # noqa: S608 - our names
        found[name] = await connection.fetchval(sql)
    return found


async def test_the_same_seed_makes_the_same_shop(postgres: PostgresServer) -> None:
    """Another seed makes another one."""
    made = []
    for seed in (1, 1, 2):
        database = postgres.new_database()
        connection = await database.connect()
        try:
            await fill(connection, Size(until=UNTIL, customers=60, seed=seed))
            made.append(await _content(connection))
        finally:
            await connection.close()
            postgres.drop(database)
    assert made[0] == made[1]
    assert all(made[0][name] != made[2][name] for name in NAMES)


async def test_the_tables_are_those_that_the_pipelines_declare(connection: Connection) -> None:
    """Keys, cursors, event dates and marks of deletion are columns; everything lies before the given moment."""
    pipelines = load_pipelines(PROJECT / "pipelines", {"PAYMENTS_API_URL": "http://127.0.0.1:1"})
    for name in NAMES:
        source = pipelines[f"ecommerce.{name}"].source
        columns = set((await connection.fetchrow(f"SELECT * FROM {name} LIMIT 1")).keys())  # noqa: S608 - our names
        assert source.kind == "postgres"
        assert {*source.key, source.cursor, *filter(None, [source.event_date, source.soft_delete])} <= columns
        assert tuple(source.key) == KEYS[name]
        newest = await connection.fetchval(f"SELECT max(updated_at)::timestamptz FROM {name}")  # noqa: S608 - same
        assert newest < UNTIL


async def test_the_columns_have_every_type_and_awkward_values(connection: Connection) -> None:
    """Between them; nulls, empty and huge texts, quotes, line ends, letters of other scripts."""
    types = await connection.fetch(
        "SELECT DISTINCT format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = ANY($1::text[]::regclass[]) AND attnum > 0",
        list(NAMES),
    )
    assert {row["type"] for row in types} >= {
        *("numeric(12,2)", "numeric", "timestamp with time zone", "timestamp without time zone", "date"),
        *("time without time zone", "jsonb", "json", "text[]", "integer[]", "numeric[]", "uuid", "order_status"),
        *("bytea", "boolean", "smallint", "integer", "bigint", "real", "double precision", "interval", "inet"),
        *("character(2)", "character varying(254)", "text"),
    }
    names = {row["full_name"] for row in await connection.fetch("SELECT full_name FROM customers")}
    assert {"", "李 小龍", "Ann\nof two lines", 'Zoë "Z" O\'Hara', "tab\tand \\ backslash"} <= names
    assert await connection.fetchval("SELECT max(octet_length(description)) FROM products") > 1_000_000
    assert await connection.fetchval("SELECT count(*) FROM customers WHERE updated_at IS NULL") > 0
    assert await connection.fetchval("SELECT count(*) FROM customers WHERE created_at IS NULL") > 0


async def test_an_update_moves_the_cursor_to_its_transactions_start(connection: Connection) -> None:
    """Also where times have no zone; who sets it keeps what was set."""
    async with connection.transaction():
        start = await connection.fetchval("SELECT now()")
        await connection.execute("UPDATE orders SET note = 'x' WHERE order_id = 1")
        await connection.execute("UPDATE products SET name = 'x' WHERE product_id = 1")
        await connection.execute("UPDATE orders SET updated_at = '2026-01-01Z' WHERE order_id = 2")
    assert await connection.fetchval("SELECT updated_at FROM orders WHERE order_id = 1") == start
    assert await connection.fetchval("SELECT updated_at AT TIME ZONE 'UTC' FROM products WHERE product_id = 1") == start
    found = await connection.fetchval("SELECT updated_at FROM orders WHERE order_id = 2")
    assert found == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_days_changes_are_new_versions_of_every_entity(shop: Shop) -> None:
    """New rows, changed ones and softly deleted ones; nothing else is touched."""
    before = await Versions.look(shop.connection, shop.api)
    await shop.changes(1)
    after = await Versions.look(shop.connection, shop.api)
    for entity in KEYS:
        new = after.found[entity].keys() - before.found[entity].keys()
        known = {version[:-1] for version in before.found[entity]}
        assert 0 < len(new) < len(known), entity
        assert sum(version[:-1] in known for version in new) > 0, entity
        if entity != "products":
            assert any(version[:-1] not in known for version in new), entity
    assert await shop.connection.fetchval("SELECT count(*) FROM customers WHERE deleted_at IS NOT NULL") > 0


async def test_a_late_commit_has_an_older_cursor_than_what_is_there_already(shop: Shop) -> None:
    """Nobody sees it until then; given up, it was never there."""
    count = f"SELECT count(*) FROM orders WHERE note = '{LATE_NOTE}'"  # noqa: S608 - our own words
    async with shop.late():
        pass
    assert await shop.connection.fetchval(count) == 0
    async with shop.late() as late:
        await shop.connection.execute("UPDATE orders SET note = 'other' WHERE order_id = 1")
        assert await shop.connection.fetchval(count) == 0
        await late.commit()
    assert await shop.connection.fetchval(count) == late.rows > 0
    oldest = await shop.connection.fetchval(f"SELECT max(updated_at) FROM orders WHERE note = '{LATE_NOTE}'")  # noqa: S608 - same
    assert oldest < await shop.connection.fetchval("SELECT updated_at FROM orders WHERE order_id = 1")


async def test_columns_are_added_and_widened(shop: Shop) -> None:
    """Rows that were not changed keep their cursor, and compare equal with what they were."""
    before = await Versions.look(shop.connection, shop.api)
    await shop.evolve()
    after = await Versions.look(shop.connection, shop.api)
    kept = before.found["orders"].keys() & after.found["orders"].keys()
    assert len(kept) > 900
    for version in kept:
        now = {name: value for name, value in after.found["orders"][version].items() if not name.endswith("::text")}
        assert differences(before.found["orders"][version], now) == []
    assert max(row["quantity"] for row in after.found["order_items"].values()) == 5_000_000_000


async def test_differences_are_named(shop: Shop) -> None:
    """By column; a value that came as its server's text is the same one."""
    row = (await Versions.look(shop.connection, shop.api)).found["orders"][(4, *_first(await _at(shop, 4)))]
    text = {**row, "status": str(row["status"]), "placed_from": row["placed_from::text"], "total": row["total"]}
    assert differences(row, text) == []
    assert differences(row, {**text, "total": row["total"] + 1, "note": "x", "new": 1}) == ["new", "note", "total"]


async def _at(shop: Shop, order: int) -> datetime:
    found: datetime = await shop.connection.fetchval("SELECT updated_at FROM orders WHERE order_id = $1", order)
    return found


def _first(moment: datetime) -> tuple[datetime]:
    return (moment.astimezone(UTC),)


async def test_the_services_role_may_read_and_nothing_else(postgres: PostgresServer) -> None:
    """It sees all transactions, which its ceilings need; a second preparation changes only its password."""
    access = Access("127.0.0.1", postgres.port, postgres.password)
    assert await prepare_database(access, "first", SIZE)
    try:
        assert not await prepare_database(access, "second", Size(until=UNTIL, customers=10))
        role = await asyncpg.connect(
            host="127.0.0.1",
            port=postgres.port,
            user=INGEST,
            password="second",  # noqa: S106 - of a sample
            database="shop",
        )
        try:
            assert await role.fetchval("SELECT count(*) FROM customers") == SIZE.customers
            assert await role.fetchval("SELECT pg_has_role('pg_read_all_stats', 'member')")
            for statement in ("DELETE FROM orders", "CREATE TABLE mine (a int)", "UPDATE customers SET email = ''"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await role.execute(statement)
        finally:
            await role.close()
    finally:
        postgres.run(["DROP DATABASE shop WITH (FORCE)", f"DROP ROLE {INGEST}"])


def test_the_stack_keeps_the_shop_over_restarts(tmp_path: Path) -> None:
    """Rows, records, ports and passwords are the same after down and up; no secret is in the state or the log."""
    home = DataDir(tmp_path / "data")
    try:
        first = stack.up(home, detach=True, progress=lambda _: None, port=0).state
        assert first.shop_ports is not None
        secrets = {path.name: path.read_text() for path in (home.path / "secrets").iterdir()}
        postgres = Access("127.0.0.1", first.shop_ports.postgres, secrets["postgres-owner"])
        asyncio.run(_execute(postgres, "DELETE FROM orders WHERE order_id > 10"))
        stats = asyncio.run(_stats(exports(first)["PAYMENTS_API_URL"]))
        stack.down(home, lambda _: None)
        assert tagged(home.path) == []

        again = stack.up(home, detach=True, progress=lambda _: None).state
        assert again.shop_ports == first.shop_ports
        assert {path.name: path.read_text() for path in (home.path / "secrets").iterdir()} == secrets
        assert asyncio.run(_execute(postgres, "SELECT count(*) FROM orders")) == 10
        assert asyncio.run(_stats(exports(again)["PAYMENTS_API_URL"])) == stats
        assert set(stats) == API
        written = (home.path / "stack.json").read_text() + "".join(
            log.read_text() for log in (home.path / "logs").glob("*.log")
        )
        assert not any(value in written for value in secrets.values())
        assert {p.state for p in status(home).processes} == {"running"}
    finally:
        stack.reset(home, lambda _: None)
    assert tagged(home.path) == []


async def _execute(access: Access, sql: str) -> Any:
    connection = await access.connect()
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _stats(url: str) -> dict[str, int]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/_control/stats") as answer:
        records: dict[str, int] = (await answer.json())["records"]
        return records
