import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import AnalyticsSource, Batch
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind, PostgresAnalytics
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.fakes.secrets import FakeSecrets
from tests.integration.chunk_tables.tables_support import RUN, SECRET, TEXTS, WINDOW, job_of
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"

WAREHOUSE = "warehouse"


def copying(text: str, *, kind: str = "postgres", **changes: Any) -> LoadedJob:
    """The job whose snapshot is taken from elsewhere."""
    copy = {"query": {"file": "query.sql", "given": ["first_day", "run_id"]}, "into": "items"}
    return job_of(
        texts={"query.sql": text},
        sql={"prepare": [{"file": "clear.sql"}, {**copy, **changes}, {"file": "copy.sql"}]},
        analytics={"kind": kind, "secret": WAREHOUSE},
    )


@pytest.fixture
def warehouse(secrets: FakeSecrets, database: Database) -> None:
    """A second secret; the same database is as good as another one."""
    secrets.stored[WAREHOUSE] = database.secret


@dataclass
class Rows:
    """An analytics database with the rows it is given, which breaks off where it is told to."""

    batches: Sequence[Batch]
    fails: Exception | None = None

    def of(self, job: LoadedJob) -> AnalyticsSource:
        """Itself, for every job."""
        assert job.job.analytics is not None
        return self

    async def check(self) -> str:
        """See the port."""
        return "rows"

    async def read(self, query: str, given: Sequence[str | date]) -> AsyncIterator[Batch]:
        """See the port."""
        assert query
        assert list(given) == [WINDOW.first_day, RUN]
        for batch in self.batches:
            yield batch
        if self.fails is not None:
            raise self.fails


@pytest.mark.usefixtures("warehouse")
async def test_a_copy_stands_before_its_table_for_the_snapshot_only(
    databases: PostgresJobDatabases, watcher: Connection
) -> None:
    """Rows of the other database are what the snapshot is taken of; the table of that name is not touched."""
    text = """
        SELECT 'k' || n % 3 AS k, n AS id FROM generate_series(1, 25000) AS n
        WHERE $1::date = '2026-01-01' AND $2::text = 'run'
    """
    await watcher.execute(TEXTS["setup.sql"].replace("{type}", "text"))
    await watcher.execute("INSERT INTO items VALUES (1, 'real')")
    database = databases.of(copying(text))
    assert await database.prepare(RUN, WINDOW)
    assert [key.rows async for key in database.distribution()] == [8_334, 8_333, 8_333]
    assert await watcher.fetch("SELECT id, k, worked FROM items") == [(1, "real", 0)]
    assert await watcher.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'items'") == 1


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1 AS id, $1::date AS day, $2::text AS k", "query.sql: table items has no column 'day'"),
        ("SELECT 1.5 AS id, $1::date = $2::date", "invalid input for query argument"),
        ("SELECT 1.5 AS id WHERE $1::date < now() AND $2 > ''", "query.sql: column 'id' has a value that does not fit"),
        ("SELECT NULL::int AS id WHERE $1::date < now() AND $2 > ''", 'null value in column "id" of relation "items"'),
        ("SELECT id FROM nowhere", 'analytics at .* relation "nowhere" does not exist'),
        ("DELETE FROM items WHERE $1::date < now() AND $2 > '' RETURNING id", "cannot execute DELETE in a read-only"),
    ],
)
async def test_a_copy_that_does_not_fit_is_refused(
    databases: PostgresJobDatabases, watcher: Connection, text: str, said: str
) -> None:
    """Columns, values and queries that are no good are named, and no snapshot is left."""
    database = databases.of(copying(text))
    with pytest.raises(PermanentError, match=said):
        await database.prepare(RUN, WINDOW)
    assert await database.present_run() is None
    assert await watcher.fetchval("SELECT count(*) FROM copied") == 0


@pytest.mark.usefixtures("warehouse")
async def test_a_copy_goes_into_a_table_that_there_is(databases: PostgresJobDatabases) -> None:
    """A name with a schema before it would not be found again, and is no table's."""
    for into in ("nowhere", "public.items"):
        with pytest.raises(PermanentError, match=f'copy into {into}: relation "{into}" does not exist'):
            await databases.of(copying("SELECT 1", into=into)).prepare(RUN, WINDOW)


async def test_values_become_those_of_the_columns(access: PostgresAccess, watcher: Connection) -> None:
    """What other databases make of numbers and times is what PostgreSQL takes, without loss."""
    await watcher.execute(
        """
        CREATE TABLE values (a smallint, b bigint, c double precision, d numeric, e text, f boolean, g date,
            h timestamp, i timestamptz, j uuid, k bytea, l jsonb, m text NOT NULL DEFAULT 'default', n varchar(3))
    """.replace("values", '"values"')
    )
    day = datetime.fromisoformat("2026-01-02")
    east = timezone(timedelta(hours=5))
    row = (
        Decimal(7), Decimal(2**60), Decimal("1.5"), 1.1, Decimal("12.50"), 1, day,
        datetime(2026, 1, 2, 5, tzinfo=east), day, "00000000-0000-0000-0000-000000000001", b"\x00",
        '{"a": 1}', 12,
    )  # fmt: skip
    columns = tuple("abcdefghijkln")
    nothing: tuple[None, ...] = (None,) * len(columns)
    analytics = Rows([Batch(columns, []), Batch(columns, [row]), Batch(columns, [nothing])])
    job = copying("SELECT", into="values")
    texts = {**job.texts, "copy.sql": 'CREATE TABLE kept AS SELECT * FROM "values"'}
    assert await PostgresJobDatabases(access, analytics).of(LoadedJob(job.job, texts)).prepare(RUN, WINDOW)
    assert tuple(await watcher.fetchrow("SELECT * FROM kept WHERE a = 7") or ())[:-2] == (
        7, 2**60, 1.5, Decimal("1.1"), "12.50", True, date(2026, 1, 2), day,
        datetime(2026, 1, 2, tzinfo=UTC), UUID(int=1), b"\x00", '{"a": 1}',
    )  # fmt: skip
    assert await watcher.fetchval("SELECT m || n FROM kept WHERE a = 7") == "default12"
    assert await watcher.fetchval("SELECT count(*) FROM kept WHERE a IS NULL AND i IS NULL") == 1


@pytest.mark.parametrize(
    ("column", "value"), [("id", "7"), ("id", Decimal("7.5")), ("id", 2**63), ("k", b"bytes"), ("locked", 2)]
)
async def test_values_that_do_not_fit_are_not_shown(access: PostgresAccess, column: str, value: object) -> None:
    """A value that would be changed by copying it is refused by the name of its column."""
    analytics = Rows([Batch((column,), [(value,)])])
    with pytest.raises(PermanentError) as caught:
        await PostgresJobDatabases(access, analytics).of(copying("SELECT")).prepare(RUN, WINDOW)
    assert f"{value}" not in str(caught.value).split("query.sql", 1)[1]


async def test_an_analytics_database_that_breaks_off_leaves_no_snapshot(
    access: PostgresAccess, watcher: Connection
) -> None:
    """Half of the rows are none: the next try starts over."""
    analytics = Rows([Batch(("id", "k"), [(1, "a")])], fails=TemporaryError("broken off"))
    database = PostgresJobDatabases(access, analytics).of(copying("SELECT"))
    with pytest.raises(TemporaryError, match="broken off"):
        await database.prepare(RUN, WINDOW)
    assert await watcher.fetchval("SELECT count(*) FROM copied") == 0
    analytics.fails = None
    assert await database.prepare(RUN, WINDOW)
    assert [key.values async for key in database.distribution()] == [("a",)]


@pytest.mark.usefixtures("warehouse")
async def test_the_analytics_say_what_they_are(access: PostgresAccess, secrets: FakeSecrets) -> None:
    """One that is not declared, not installed or not known is a mistake that is named."""
    sources = AnalyticsByKind({"postgres": PostgresAnalytics(access)})
    assert (await sources.of(copying("SELECT")).check()).startswith("PostgreSQL ")
    with pytest.raises(BadDeclarationError, match="items declares no analytics"):
        sources.of(job_of())
    with pytest.raises(BadDeclarationError, match=r"pip install tidegate\[snowflake\]"):
        sources.of(copying("SELECT", kind="snowflake"))
    unset = job_of(analytics={"kind": "postgres", "secret": "${WAREHOUSE}"})
    with pytest.raises(BadDeclarationError, match=r"analytics\.secret needs WAREHOUSE, which is not set"):
        sources.of(unset)
    secrets.stored[WAREHOUSE] = json.dumps(
        {"host": "127.0.0.1", "port": 1, "dbname": "d", "user": "u", "password": "p"}
    )
    await secrets.read(WAREHOUSE, fresh=True)
    with pytest.raises(TemporaryError, match="connect to 127"):
        await sources.of(copying("SELECT")).check()
    assert SECRET in secrets.stored
