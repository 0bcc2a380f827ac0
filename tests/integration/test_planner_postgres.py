"""Describing tables of a real PostgreSQL server: types, declared columns, rights, and names of all sorts."""

from typing import Any

import pytest

from services.planner.adapters.postgres.entity import PostgresEntity
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.postgres.access import PostgresAccess
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.integration.planner_postgres_support import ORDERS, SECRET, Sight, declared
from tests.postgres_support import Database

EVERY_TYPE = {
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "oid": "int64",
    "real": "float32",
    "double precision": "float64",
    "numeric(12,2)": "decimal(12,2)",
    "numeric(38,38)": "decimal(38,38)",
    "numeric(5)": "decimal(5,0)",
    "numeric": "decimal(38,18)",
    "numeric(39,2)": "decimal(38,18)",
    "numeric(5,-2)": "decimal(38,18)",
    "numeric(2,5)": "decimal(38,18)",
    "boolean": "boolean",
    "date": "date",
    "time": "time_us",
    "time(3)": "time_us",
    "timestamp": "timestamp_us",
    "timestamp(3)": "timestamp_us",
    "timestamptz": "timestamp_us_utc",
    "bytea": "binary",
    "text": "string",
    "varchar(10)": "string",
    "char(3)": "string",
    "uuid": "string",
    "json": "string",
    "jsonb": "string",
    "interval": "string",
    "inet": "string",
    "cidr": "string",
    "macaddr": "string",
    "timetz": "string",
    "xml": "string",
    "money": "string",
    "int4range": "string",
    "int4multirange": "string",
    "bit(4)": "string",
    "bit varying": "string",
    "point": "string",
    "tsvector": "string",
    "name": "string",
    "mood": "string",
    "pair": "string",
    "price": "decimal(9,3)",
    "gross_price": "decimal(9,3)",
    "loose": "decimal(38,18)",
    "email": "string",
    "integer[]": "list<int32>",
    "bigint[5]": "list<int64>",
    "numeric(7,1)[]": "list<decimal(7,1)>",
    "numeric[]": "list<decimal(38,18)>",
    "timestamptz[]": "list<timestamp_us_utc>",
    "bytea[]": "list<binary>",
    "text[]": "list<string>",
    "uuid[]": "list<string>",
    "mood[]": "list<string>",
    "pair[]": "list<string>",
    "price[]": "list<decimal(9,3)>",
    "prices": "list<decimal(9,3)>",
    "prices[]": "string",
    "integer[][]": "string",
    "matrix": "string",
    "int2vector": "string",
    "oidvector": "string",
}
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN price AS numeric(9,3) CHECK (VALUE >= 0)",
    "CREATE DOMAIN gross_price AS price",
    "CREATE DOMAIN loose AS numeric",
    "CREATE DOMAIN email AS varchar(50)",
    "CREATE DOMAIN prices AS price[]",
    "CREATE DOMAIN matrix AS int[][]",
)


async def test_every_type_has_a_field_type(database: Database) -> None:
    """Columns come in their order with the server's name for their type; domains count as what is below them."""
    columns = ", ".join(f'"c {n}" {type_}' for n, type_ in enumerate(EVERY_TYPE))
    database.run(*OWN_TYPES, f"CREATE TABLE orders (id int, changed timestamptz, {columns})")
    sight = Sight(database)
    fields = (await sight.entity.describe())[2:]
    assert dict(zip(EVERY_TYPE, [field.type for field in fields], strict=True)) == EVERY_TYPE
    assert [field.name for field in fields] == [f"c {n}" for n in range(len(EVERY_TYPE))]
    told = dict(zip(EVERY_TYPE, [field.source_type for field in fields], strict=True))
    assert (told["numeric(12,2)"], told["mood"], told["time(3)"], told["varchar(10)"]) == (
        "numeric(12,2)",
        "public.mood",
        "time(3) without time zone",
        "character varying(10)",
    )
    database.run("INSERT INTO orders VALUES (1, '2026-01-01')")
    assert [cut.rows for cut in await sight.cut()] == [1]


async def test_generated_columns_are_there_and_dropped_ones_are_not(database: Database) -> None:
    """The order is that of the table, whatever was dropped from it."""
    database.run(
        "CREATE TABLE orders (gone int, id bigint GENERATED ALWAYS AS IDENTITY, changed timestamp,"
        " twice bigint GENERATED ALWAYS AS (id * 2) STORED)",
        "ALTER TABLE orders DROP COLUMN gone, ADD COLUMN late date",
    )
    assert list(await Sight(database).types()) == ["id", "changed", "twice", "late"]


async def test_the_declaration_overrules_types(database: Database) -> None:
    """Of the columns it names; the cursor is judged by what it is."""
    database.run("CREATE TABLE orders (id int, changed timestamptz, amount numeric, tags text[])")
    sight = Sight(database, types={"amount": "decimal(20,4)", "tags": "string"})
    assert await sight.types() == {
        "id": "int32",
        "changed": "timestamp_us_utc",
        "amount": "decimal(20,4)",
        "tags": "string",
    }


async def test_views_and_partitioned_tables_are_tables(database: Database) -> None:
    """So are materialized views."""
    database.run(
        ORDERS,
        "CREATE VIEW recent AS SELECT * FROM orders",
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders",
        "CREATE TABLE parted (id int, changed timestamptz) PARTITION BY RANGE (id)",
    )
    for table in ("recent", "kept", "parted"):
        assert list(await Sight(database, table=table).types())[:2] == ["id", "changed"]


async def test_what_is_not_there(database: Database) -> None:
    """The error names table, schema and database; a sequence or a prefix of a name is no table."""
    database.run(ORDERS, "CREATE SEQUENCE numbers")
    wrong: tuple[dict[str, Any], ...]
    wrong = ({"table": "order"}, {"table": "numbers"}, {"database_schema": "shop"}, {"table": "Orders"})
    for source in wrong:
        sight = Sight(database, **source)
        where = f"{sight.source.database_schema}.{sight.source.table}"
        with pytest.raises(PermanentError, match=f"there is no table {where} in database {database.name}"):
            await sight.entity.describe()
        with pytest.raises(PermanentError, match="there is no table"):
            await sight.entity.cut("1970-01-01 00:00:00", "9000-01-01T00:00:00", [], whole=True)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"key": ["id", "line"]}, "key: public.orders has no column 'line'; it has ['changed', 'id', 'note']"),
        ({"cursor": "updated"}, "cursor: public.orders has no column 'updated'"),
        ({"cursor": "note"}, "cursor: column 'note' of public.orders is not a timestamp but string"),
        ({"cursor": "note", "types": {"note": "timestamp_us"}}, "is not a timestamp but string"),
        ({"event_date": "day"}, "event_date: public.orders has no column 'day'"),
        ({"event_date": "id"}, "event_date: column 'id' of public.orders is not a date or a timestamp but int32"),
        ({"soft_delete": "gone"}, "soft_delete: public.orders has no column 'gone'"),
    ],
)
async def test_declared_columns_must_fit(database: Database, source: dict[str, Any], reason: str) -> None:
    """The error says which declaration is wrong, and what there is."""
    database.run(ORDERS)
    with pytest.raises(PermanentError) as error:
        await Sight(database, **source).entity.describe()
    assert reason in str(error.value)


async def test_what_may_not_be_read(database: Database) -> None:
    """The error says what is missing: the schema, the table, or some columns."""
    database.run(ORDERS, "CREATE SCHEMA shut", "CREATE TABLE shut.orders (LIKE orders)")
    role = f"reader_of_{database.name}"
    database.run(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'", f"GRANT SELECT ON shut.orders TO {role}")
    try:
        sight = Sight(database)
        sight.secrets.stored[SECRET] = database.secret.replace('"postgres"', f'"{role}"').replace(
            database.server.password, "reads"
        )
        with pytest.raises(PermanentError, match=r"^public.orders in database \S+ may not be read; GRANT USAGE"):
            await sight.entity.describe()
        shut = Sight(database, database_schema="shut")
        shut.secrets.stored = sight.secrets.stored
        with pytest.raises(PermanentError, match=r"^shut.orders in database \S+ may not be read"):
            await shut.entity.describe()
        database.run(f"GRANT SELECT (id, changed) ON orders TO {role}")
        with pytest.raises(PermanentError, match=r"^columns \['note'\] of public.orders"):
            await sight.entity.describe()
        database.run(f"GRANT SELECT ON orders TO {role}")
        assert len(await sight.entity.describe()) == 3
    finally:
        database.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


EVIL = "o\"rd'ers; DROP TABLE victim; --$1 %s"


async def test_names_are_names_whatever_is_in_them(database: Database) -> None:
    """Schema, table and columns with quotes and semicolons are read, and nothing in them is carried out."""
    quoted = EVIL.replace('"', '""')
    database.run(
        "CREATE TABLE victim (id int)",
        f'CREATE SCHEMA "{quoted}"',
        f'CREATE TABLE "{quoted}"."{quoted}" ("{quoted}" text, "{quoted}2" timestamptz, "select" text)',
        f'INSERT INTO "{quoted}"."{quoted}" SELECT n, now(), n FROM generate_series(1, 9) n',  # noqa: S608
    )
    where = {"database_schema": EVIL, "table": EVIL}
    sight = Sight(database, key=[EVIL, "select"], cursor=f"{EVIL}2", segment_rows=2, sampled_from=None, **where)
    assert list(await sight.types()) == [EVIL, f"{EVIL}2", "select"]
    cuts = await sight.cut()
    assert [len(rows) for rows in await sight.rows_of([cut.slice for cut in cuts])] == [2, 2, 2, 2, 1]
    database.run("SELECT FROM victim")


@pytest.mark.parametrize("source", [{"table": "a\0b"}, {"database_schema": ""}, {"cursor": "x\0"}, {"key": ["\0"]}])
async def test_names_that_cannot_be(database: Database, source: dict[str, Any]) -> None:
    """They are refused in one line, whether the server was asked or not."""
    database.run(ORDERS)
    with pytest.raises(PermanentError):
        await Sight(database, **source).entity.describe()


def test_a_declaration_that_waits_for_a_variable() -> None:
    """The error names the variable."""
    with pytest.raises(BadDeclarationError, match=r"source\.secret needs RDS_SECRET_ARN, which is not set"):
        PostgresEntity.open(PostgresAccess(FakeSecrets(ManualClock())), declared(secret="${RDS_SECRET_ARN}"))  # noqa: S106
