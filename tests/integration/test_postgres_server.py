"""The private PostgreSQL server that the embedded stack and the tests use."""

import asyncpg
import pytest

from tests.postgres_support import Database, PostgresServer


async def test_takes_the_password_only(database: Database) -> None:
    """Who does not know the password is not let in."""
    with pytest.raises(asyncpg.InvalidPasswordError):
        await database.connect(password="wrong")  # noqa: S106 - that it is wrong is the test


async def test_keeps_what_was_committed_over_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that is started again serves what its first life committed."""
    server = PostgresServer(tmp_path_factory.mktemp("restarted"))
    server.start()
    try:
        server.run(["CREATE TABLE kept AS SELECT 1 AS one"])
        server.stop()
        server.start()
        connection = await Database(server, "postgres").connect()
        assert await connection.fetchval("SELECT one FROM kept") == 1
        await connection.close()
    finally:
        server.stop()
        server.remove()


def test_a_cluster_that_was_cleared_away_is_made_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where it had to lie among temporary files, these may go; the server starts again, empty."""
    server = PostgresServer(tmp_path_factory.mktemp("cleared"))
    server.start()
    try:
        server.stop()
        server.clear()
        server.start()
        server.run(["SELECT 1"])
    finally:
        server.stop()
        server.remove()
