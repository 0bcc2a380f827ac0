"""Makes the conflict report's database where it is missing: ``python -m services.console.demo.home_care_database``.

It is made beside its place and renamed when it is whole, and belongs to the role that the services connect as, which
made everything in it: a run applies the job's own tables and functions again.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg

from services.console.demo.home_care import HomeCare, fill
from services.console.demo.shop import Access, patient
from services.console.local.credentials import CHUNKS, HOME_CARE
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.failures import TidegateError
from services.runtime.settings import PROJECT

JOB = "conflict_report"
VISITS = 12_000
DAYS = 90
AHEAD = 14
"""Of the visits' days so many come after the first start, so that all of them lie in the window of a run."""
SKEWED = 700
"""Visits of the one large key."""
_DRAFT = f"{HOME_CARE}_draft"


def size_of(today: date) -> HomeCare:
    """The visits of a first start."""
    return HomeCare(VISITS, today - timedelta(days=DAYS - AHEAD), days=DAYS, skewed=SKEWED)


async def prepare_database(access: Access, password: str, size: HomeCare) -> bool:
    """Make the role that the services connect as, and its database if there is none; True if it was made.

    Raises:
        TemporaryError: the server does not answer in time.
        BadDeclarationError: the job's files cannot be read.
    """
    server = await patient(access)
    try:
        await _make_role(server, password)
        if await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", HOME_CARE):
            return False
        job = load_jobs(PROJECT / "pipelines", {})[JOB]
        await server.execute(f"DROP DATABASE IF EXISTS {_DRAFT}")
        await server.execute(f"CREATE DATABASE {_DRAFT} OWNER {CHUNKS}")
        draft = await asyncpg.connect(
            host=access.host, port=access.port, user=CHUNKS, password=password, database=_DRAFT
        )
        try:
            await set_up(draft, job)
            await fill(draft, size)
        finally:
            await draft.close()
        await server.execute(f"ALTER DATABASE {_DRAFT} RENAME TO {HOME_CARE}")
    finally:
        await server.close()
    return True


async def set_up(connection: "asyncpg.Connection[asyncpg.Record]", job: LoadedJob) -> None:
    """The job's tables and functions, as a run makes them."""
    for file in job.job.sql.setup:
        await connection.execute(job.text(file))


async def _make_role(server: "asyncpg.Connection[asyncpg.Record]", password: str) -> None:
    if not await server.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", CHUNKS):
        await server.execute(f"CREATE ROLE {CHUNKS} LOGIN")
    words = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"
    await server.execute(await server.fetchval(words, CHUNKS, password))
    # Chunks are held back by what all sessions and replicas of the server do, whosever they are.
    await server.execute(f"GRANT pg_read_all_stats TO {CHUNKS}")


def main(arguments: Sequence[str]) -> int:
    """Prepare the database that the options name; 1 with one line on standard error where it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m services.console.demo.home_care_database", description="visits")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="of PostgreSQL")
    parser.add_argument("--owner-file", type=Path, required=True, help="holds the superuser's password")
    parser.add_argument("--chunks-file", type=Path, required=True, help="holds the password of the services' role")
    options = parser.parse_args(arguments)
    owner, chunks = (path.read_text(encoding="ascii") for path in (options.owner_file, options.chunks_file))
    access = Access(options.host, options.port, owner)
    try:
        asyncio.run(prepare_database(access, chunks, size_of(datetime.now(UTC).date())))
    except (TidegateError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
