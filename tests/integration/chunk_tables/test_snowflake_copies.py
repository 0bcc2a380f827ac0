import itertools
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.snowflake.analytics import SnowflakeAnalytics
from services.runtime.snowflake.session import open_session
from tests.fakes.secrets import FakeSecrets
from tests.integration.chunk_tables.tables_support import RUN, WINDOW, job_of
from tests.integration.snowflake_support import PASSWORD
from tests.integration.snowflake_support import SECRET as WAREHOUSE

Connection: TypeAlias = "asyncpg.Connection[Any]"

QUERY = """
SELECT VISIT_ID AS "id", NAME AS "k", SIGNED AS "locked" FROM PUBLIC.VISITS WHERE VISIT_DATE BETWEEN ? AND ?
ORDER BY VISIT_ID
"""
_names = itertools.count(1)


@pytest.fixture(autouse=True)
async def account(snowflake_server: Mapping[str, Any], secrets: FakeSecrets) -> None:
    """A database of the test's own, with some visits of January and one of February."""
    secrets.stored[WAREHOUSE] = json.dumps(
        {
            "account": "fakesnow", "username": "tidegate", "password": PASSWORD, "database": f"CARE_{next(_names)}",
            "schema": "PUBLIC", "host": snowflake_server["host"], "port": snowflake_server["port"], "protocol": "http",
        }
    )  # fmt: skip
    async with open_session(secrets, WAREHOUSE) as session:
        await session.rows("CREATE TABLE VISITS (VISIT_ID NUMBER(18,0), NAME TEXT, SIGNED BOOLEAN, VISIT_DATE DATE)")
        for row in ("1, 'a', TRUE, '2026-01-01'", "2, NULL, NULL, '2026-12-31'", "3, 'a', FALSE, '2027-01-01'"):
            await session.rows(f"INSERT INTO VISITS VALUES ({row})")  # noqa: S608


def job(text: str = QUERY, **analytics: Any) -> Any:
    """The job whose snapshot is taken from Snowflake."""
    copy = {"query": {"file": "query.sql", "given": ["first_day", "last_day"]}, "into": "items"}
    return job_of(
        texts={"query.sql": text},
        sql={"prepare": [{"file": "clear.sql"}, copy, {"file": "copy.sql"}]},
        analytics={"kind": "snowflake", "secret": WAREHOUSE, **analytics},
    )


async def test_a_snapshot_is_taken_from_snowflake(
    access: PostgresAccess, secrets: FakeSecrets, watcher: Connection
) -> None:
    """Rows of the declared days come over with their types; an empty answer is a snapshot without rows."""
    sources = AnalyticsByKind({"snowflake": SnowflakeAnalytics(secrets)})
    database = PostgresJobDatabases(access, sources).of(job())
    assert await database.prepare(RUN, WINDOW)
    assert [(key.values, key.rows) async for key in database.distribution()] == [(("a",), 1), ((None,), 1)]
    assert await watcher.fetch("SELECT id FROM copied ORDER BY id") == [(1,), (2,)]
    nobody = PostgresJobDatabases(access, sources).of(job(QUERY.replace("BETWEEN", "NOT BETWEEN") + " LIMIT 0"))
    assert await nobody.prepare("next", WINDOW)
    assert [key async for key in nobody.distribution()] == []


async def test_many_rows_come_in_batches(secrets: FakeSecrets) -> None:
    """No more than a batch is held, and every row comes once."""
    source = SnowflakeAnalytics(secrets).of(job())
    text = 'SELECT SEQ AS "id" FROM (SELECT UNNEST(RANGE(25000)) AS SEQ)'
    batches = [batch async for batch in source.read(text, [])]
    assert [len(batch.rows) for batch in batches] == [10_000, 10_000, 5_000]
    assert batches[0].columns == ("id",)
    assert {row[0] for batch in batches for row in batch.rows} == set(range(25_000))


async def test_says_what_it_is_and_what_is_wrong(secrets: FakeSecrets) -> None:
    """Version, database and user for people; a query or a declaration that is no good is named."""
    sources = SnowflakeAnalytics(secrets)
    said = await sources.of(job()).check()
    assert said.startswith("Snowflake ")
    assert "CARE_" in said
    with pytest.raises(PermanentError, match="NOWHERE"):
        assert [batch async for batch in sources.of(job()).read("SELECT * FROM PUBLIC.NOWHERE", [])]
    with pytest.raises(BadDeclarationError, match=r"analytics\.secret needs WAREHOUSE, which is not set"):
        sources.of(job(secret="${" + "WAREHOUSE}"))
    with pytest.raises(BadDeclarationError, match="items declares no analytics of Snowflake"):
        sources.of(job_of())
