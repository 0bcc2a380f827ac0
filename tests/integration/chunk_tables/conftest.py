"""Fixtures of the tests of chunks in PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Work
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.postgres.access import PostgresAccess
from services.runtime.postgres.analytics import AnalyticsByKind, PostgresAnalytics
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.integration.chunk_tables.tables_support import RUN, SECRET, TEXTS, WINDOW, chunk_of, job_of, planned
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"


@pytest.fixture
def secrets(database: Database) -> FakeSecrets:
    """Secrets with the test's own database."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored[SECRET] = database.secret
    return secrets


@pytest.fixture
def access(secrets: FakeSecrets) -> PostgresAccess:
    """Knows the test's own database."""
    return PostgresAccess(secrets)


@pytest.fixture
def databases(access: PostgresAccess) -> PostgresJobDatabases:
    """The databases of jobs, with PostgreSQL as the analytics."""
    return PostgresJobDatabases(access, AnalyticsByKind({"postgres": PostgresAnalytics(access)}))


@pytest.fixture
async def tables(access: PostgresAccess) -> AsyncIterator[PostgresChunkTables]:
    """Chunks, with up to three connections."""
    async with PostgresChunkTables(access, connections=3) as tables:
        yield tables


@pytest.fixture
async def watcher(database: Database) -> AsyncIterator[Connection]:
    """A connection that looks on."""
    connection = await database.connect()
    yield connection
    await connection.close()


@pytest.fixture
def job() -> LoadedJob:
    """The job, by a key of text."""
    return job_of()


@pytest.fixture
async def work(databases: PostgresJobDatabases, watcher: Connection, job: LoadedJob) -> Work:
    """A chunk of a run that is planned: four keys, one of them NULL, of ten rows in all."""
    await watcher.execute(TEXTS["setup.sql"].replace("{type}", "text"))
    await watcher.execute(
        "INSERT INTO items SELECT n, CASE WHEN n % 4 > 0 THEN 'secret-' || n % 4 END FROM generate_series(1, 10) AS n"
    )
    database = databases.of(job)
    assert await database.prepare(RUN, WINDOW)
    work = chunk_of(job, "0", [key async for key in database.distribution()])
    await database.register(RUN, [planned(work)])
    return work
