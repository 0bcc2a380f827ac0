"""What the tests of landed entities share: a database, a group declared on it, and an independent look at bronze."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from services.console.session import Session
from tests.e2e.collecting import SERVICES
from tests.e2e.fleet import Ended, Fleet
from tests.postgres_support import Database

GROUP = "shop"
SECRET = "shop-db"  # noqa: S105 - the name of a secret
TARGET = 'kind = "bronze"\nprefix = "bronze/"\nlogs = "logs/"\n'


@dataclass(frozen=True)
class Shop:
    """One test's database, the services that land it, and what they landed."""

    fleet: Fleet
    session: Session
    database: Database
    folder: Path

    async def open(self, entities: Mapping[str, str], *, source: str = "lag_seconds = 0") -> None:
        """Declare a group with these entities (TOML each, the source left out), keep its secret, start the services."""
        text = f'name = "{GROUP}"\n[target]\n{TARGET}[sources.rds]\n'
        text += f'kind = "postgres"\nsecret = "{SECRET}"\ncursor = "updated_at"\n{source}\n'
        for name, own in entities.items():
            text += f'[entities.{name}]\nsource = "rds"\n{own}\n'
        await self.serve(text)

    async def serve(self, declaration: str, *, secret: str = SECRET) -> None:
        """Start the services with this declaration and no other; the database's secret goes by this name."""
        declarations = self.fleet.folder / "pipelines"
        declarations.mkdir()
        (declarations / "declared.toml").write_text(declaration, encoding="utf-8")
        self.fleet.settings["TIDEGATE_PIPELINES"] = str(declarations)
        await self.keep_secret(self.database.secret, name=secret)
        for service in SERVICES:
            self.fleet.start(service)

    async def keep_secret(self, text: str, *, name: str = SECRET) -> None:
        """Put the connection's secret, or replace it."""
        manager = self.session.clients.secretsmanager
        try:
            await manager.create_secret(Name=name, SecretString=text)
        except manager.exceptions.ResourceExistsException:
            await manager.put_secret_value(SecretId=name, SecretString=text)

    async def land(self, *entities: str, load_type: str = "INCREMENTAL", code: int = 0) -> dict[str, Any]:
        """One run of the group to its end; the response."""
        ended = await self.try_to_land(*entities, load_type=load_type)
        assert ended.code == code, ended.err
        answer: dict[str, Any] = json.loads(ended.out)
        return answer

    async def try_to_land(self, *entities: str, load_type: str = "INCREMENTAL") -> Ended:
        """One run of the group, however it ends."""
        payload = json.dumps({"load_type": load_type})
        return await self.fleet.tidegate("run", GROUP, *entities, "--payload", payload, "--wait", "--json")

    async def bronze(self, entity: str, select: str = "*", **within: str) -> list[tuple[Any, ...]]:
        """What DuckDB reads of an entity's parts, without the services' own code."""
        folder = await self._download(entity)
        if not list(folder.rglob("*.parquet")):
            return []
        where = " AND ".join(f"{name} = '{value}'" for name, value in within.items()) or "true"

        def read() -> list[tuple[Any, ...]]:
            with duckdb.connect() as connection:
                connection.execute("SET TimeZone = 'UTC'")
                parts = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true, union_by_name = true)"
                answer = connection.sql(f"SELECT {select} FROM {parts} WHERE {where}")  # noqa: S608 - our own words
                table = answer.to_arrow_table()
                assert table is not None
                return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

        return await asyncio.to_thread(read)

    async def parts(self, entity: str) -> list[str]:
        """Keys of an entity's parts, below its folder."""
        prefix = f"bronze/{entity}/"
        bucket = self.session.settings.resource("processed")
        return [info.key.removeprefix(prefix) async for info in self.session.objects.list(bucket, prefix)]

    async def _download(self, entity: str) -> Path:
        folder = self.folder / f"bronze-{entity}"
        bucket = self.session.settings.resource("processed")
        for key in await self.parts(entity):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = await self.session.objects.get(bucket, f"bronze/{entity}/{key}")
            await asyncio.to_thread(path.write_bytes, stored.body)
        return folder

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database itself says."""
        connection = await self.database.connect()
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()


def orders(count: int, *, days: int = 30) -> Sequence[str]:
    """Statements that make a table of orders with two items each."""
    return (
        "CREATE TABLE orders (order_id int8, note text, total numeric, ordered_at timestamptz, updated_at timestamptz)",
        "CREATE TABLE items (order_id bigint, line int, sku text, ordered_on date, updated_at timestamptz)",
        f"""
        INSERT INTO orders SELECT i, md5(i::text), (i % 997)::numeric / 4,
            timestamptz '2025-01-01' + (i % {days:d}) * interval '1 day',
            timestamptz '2025-06-01' + i * interval '1 millisecond' FROM generate_series(1, {count:d}) i
        """,  # noqa: S608 - numbers only
        f"""
        INSERT INTO items SELECT i / 2, i % 2, 'sku ' || i, date '2025-01-01',
            timestamptz '2025-06-01' + i * interval '1 millisecond' FROM generate_series(1, {2 * count:d}) i
        """,  # noqa: S608 - as above
        "ALTER TABLE orders ADD PRIMARY KEY (order_id)",
        "ALTER TABLE items ADD PRIMARY KEY (order_id, line)",
        "CREATE INDEX ON orders (updated_at)",
        "ANALYZE",
    )


ORDERS = 'key = ["order_id"]\nevent_date = "ordered_at"'
ITEMS = 'key = ["order_id", "line"]\nevent_date = "ordered_on"'
