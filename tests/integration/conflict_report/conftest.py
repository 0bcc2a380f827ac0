"""Fixtures of the conflict report's tests."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest

from tests.integration.conflict_report.report_support import create
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A connection to a database with the report's tables, all empty."""
    connection = await database.connect()
    await create(connection)
    yield connection
    await connection.close()
