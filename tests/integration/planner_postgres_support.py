"""A planner's view of one table in a test's own database."""

from datetime import UTC, datetime
from typing import Any

import asyncpg

from contracts.fields import EntityField
from contracts.loads import START_OF_TIME, Slice
from contracts.pipelines import Pipeline
from contracts.sources import PostgresSource
from services.planner.adapters.postgres.entity import PostgresEntity
from services.planner.ports import Cut
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.names import qualified, quoted
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.postgres_support import Database

SECRET = "ecom-rds"  # noqa: S105 - a name
LATE = "9000-01-01T00:00:00.000000"
ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, changed timestamptz, note text)"


def declared(**source: Any) -> Pipeline:
    """An entity in a table ``orders``, unless told otherwise."""
    table = {"kind": "postgres", "system": "rds", "secret": SECRET, "table": "orders", "key": ["id"]}
    return Pipeline.parse(
        {
            "name": "shop.orders",
            "entity": "orders",
            "source": table | {"cursor": "changed"} | source,
            "target": {"kind": "bronze"},
        },
        where="shop.toml",
    )


class Sight:
    """One entity as a planner sees it."""

    def __init__(self, database: Database, *, sampled_from: int | None = None, **source: Any) -> None:
        self.database = database
        self._described: list[EntityField] = []
        self.secrets = FakeSecrets(ManualClock())
        self.secrets.stored[SECRET] = database.secret
        access, pipeline = PostgresAccess(self.secrets), declared(**source)
        self.entity = PostgresEntity.open(access, pipeline)
        assert isinstance(pipeline.source, PostgresSource)
        self.source = pipeline.source
        if sampled_from is not None:
            self.entity = PostgresEntity(access, pipeline.name, pipeline.source, sampled_from=sampled_from)

    async def types(self) -> dict[str, str]:
        """Types of the columns, by name."""
        return {field.name: field.type for field in await self.entity.describe()}

    async def behind(self) -> float:
        """How far the ceiling is below now, seconds."""
        ceiling = await self.entity.ceiling(datetime.now(UTC))
        return (datetime.now(UTC) - ceiling).total_seconds()

    async def cut(self, start: str = START_OF_TIME, end: str = LATE, *, whole: bool = True) -> list[Cut]:
        """The slices of a window."""
        return await self.entity.cut(start, end, await self._columns(), whole=whole)

    async def rows_of(self, slices: list[Slice], *, over: "asyncpg.Connection[Any] | None" = None) -> list[list[str]]:
        """The texts of the keys in each slice, read one by one as whoever fetches them would."""
        fields = {field.name: field for field in await self._columns()}
        key = ", ".join(quoted(name) for name in self.source.key)
        texts = ", ".join(f"{quoted(name)}::text" for name in self.source.key)
        table = qualified(self.source.database_schema, self.source.table)
        connection = over or await self.database.connect()
        found = []
        try:
            await connection.execute("SET timezone = 'UTC'; SET search_path = pg_catalog")
            for each in slices:
                values: list[str] = [each.start, each.end]
                cursor = quoted(self.source.cursor)
                inside = f"{cursor} >= $1::text::timestamptz AND {cursor} < $2::text::timestamptz"
                where = f"({inside} OR {cursor} IS NULL)" if each.undated else f"({inside})"
                for operator, border in ((">", each.after), ("<=", each.upto)):
                    if border is not None:
                        types = [fields[name].source_type for name in self.source.key]
                        places = range(len(values) + 1, len(values) + 1 + len(border))
                        bounds = ", ".join(f"${n}::text::{type_}" for n, type_ in zip(places, types, strict=True))
                        where += f" AND ({key}) {operator} ({bounds})"
                        values += border
                rows = await connection.fetch(f"SELECT {texts} FROM {table} WHERE {where}", *values)  # noqa: S608
                found.append(["\x1f".join(row) for row in rows])
        finally:
            if over is None:
                await connection.close()
        return found

    async def _columns(self) -> list[EntityField]:
        self._described = self._described or await self.entity.describe()
        return self._described
