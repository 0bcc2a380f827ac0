"""The database: home-care visits, made once and copied for every run."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from bench.bronze.source import MEMORY, run
from services.console.demo.home_care import HomeCare, fill
from services.runtime.settings import PROJECT
from tests.postgres_support import Database, PostgresServer

JOB = "conflict_report"
SQL = PROJECT / "pipelines" / JOB / "sql"
DAYS = 90
_numbers = itertools.count(1)


def sql(name: str) -> str:
    """The text of one of the job's statements."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Visits:
    """A server with a database of visits that others are copied from."""

    server: PostgresServer = field(repr=False)
    template: Database = field(repr=False)
    rows: int

    @contextmanager
    def copy(self) -> Iterator[Database]:
        """A database of one run's own."""
        database = Database(self.server, f"run_{next(_numbers)}")
        self.server.run([f'CREATE DATABASE "{database.name}" TEMPLATE "{self.template.name}"', "CHECKPOINT"])
        try:
            yield database
        finally:
            self.server.drop(database)


@contextmanager
def visits(rows: int, skewed: int) -> Iterator[Visits]:
    """Start a server and make the visits; ``skewed`` of them are of one key."""
    with TemporaryDirectory(prefix="bench-conflict-report-") as folder:
        server = PostgresServer(Path(folder), settings=MEMORY)
        server.start()
        try:
            template = server.new_database()
            run(_fill(template, rows, skewed))
            yield Visits(server, template, rows)
        finally:
            server.stop()
            server.remove()


async def _fill(database: Database, rows: int, skewed: int) -> None:
    first_day = datetime.now(UTC).date() - timedelta(days=DAYS)
    connection: asyncpg.Connection[Any] = await database.connect()
    try:
        await connection.execute(sql("ddl"))
        await connection.execute(sql("rules"))
        await fill(connection, HomeCare(visits=rows, first_day=first_day, days=DAYS, skewed=skewed))
        await connection.execute("VACUUM ANALYZE", timeout=600)
    finally:
        await connection.close()


def url(database: Database) -> str:
    """The address with the password."""
    return "postgresql://{username}:{password}@{host}:{port}/{database}".format(**json.loads(database.secret))


def digest(database: Database) -> str:
    """Of all rows with all columns but the time of their update: any difference changes it."""

    async def ask() -> str:
        connection: asyncpg.Connection[Any] = await database.connect()
        try:
            rows, total = await connection.fetchrow(
                """
                SELECT count(*), sum(hashtextextended((to_jsonb(visit) - 'UpdatedDate')::text, 0)::numeric)
                FROM conflictvisitmaps AS visit
                """,
                timeout=600,
            )
        finally:
            await connection.close()
        return f"{rows} rows, {total}"

    return run(ask())


async def snapshot(connection: "asyncpg.Connection[Any]") -> None:
    """Task 01, as every candidate does it before anything is measured."""
    today = datetime.now(UTC).date()
    async with connection.transaction():
        await connection.execute(sql("task_01_open"), "bench")
        for name in ("task_01_release", "task_01_clear"):
            await connection.execute(sql(name))
        await connection.execute(sql("task_01"), today - timedelta(days=730), today + timedelta(days=30), timeout=600)
        await connection.execute(sql("task_01_analyze"))


def in_a_process(work: Any) -> None:
    """Run a candidate's coroutine and print what it says."""
    print(json.dumps(asyncio.run(work)))
