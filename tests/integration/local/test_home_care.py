"""The conflict report's database as the embedded stack makes it."""

from datetime import date

import asyncpg
import pytest

from contracts.chunks import ChunkPayload
from services.console.demo.home_care import HomeCare
from services.console.demo.home_care_database import DAYS, prepare_database, size_of
from services.console.demo.shop import Access
from services.console.local.credentials import CHUNKS, HOME_CARE
from services.runtime.chunking.jobs import load_jobs
from services.runtime.chunking.window import window_of
from services.runtime.settings import PROJECT
from tests.postgres_support import PostgresServer

TODAY = date(2026, 1, 1)
FEW = HomeCare(300, TODAY, days=10)


async def test_it_is_made_once_and_belongs_to_the_services_role(postgres: PostgresServer) -> None:
    """The role may do all to its own tables, as a run needs it, and make no database; only its password may change."""
    access = Access("127.0.0.1", postgres.port, postgres.password)
    postgres.run([f"CREATE DATABASE {HOME_CARE}_draft"])  # of a first start that was killed
    assert await prepare_database(access, "first", FEW)
    try:
        assert not await prepare_database(access, "second", HomeCare(5, TODAY))
        role = await asyncpg.connect(
            host="127.0.0.1",
            port=postgres.port,
            user=CHUNKS,
            password="second",  # noqa: S106 - of a sample
            database=HOME_CARE,
        )
        try:
            assert await role.fetchval("SELECT count(*) FROM conflictvisitmaps") == FEW.visits
            job = load_jobs(PROJECT / "pipelines", {})["conflict_report"]
            for file in job.job.sql.setup:
                await role.execute(job.text(file))
            await role.execute("TRUNCATE conflictvisitmaps_temp")
            assert await role.fetchval("SELECT pg_has_role('pg_read_all_stats', 'member')")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await role.execute("CREATE DATABASE mine")
        finally:
            await role.close()
    finally:
        postgres.run([f"DROP DATABASE {HOME_CARE} WITH (FORCE)", f"DROP ROLE {CHUNKS}"])


def test_all_visits_lie_in_the_window_of_a_run() -> None:
    """On the day of the first start and long after it."""
    job = load_jobs(PROJECT / "pipelines", {})["conflict_report"]
    size = size_of(TODAY)
    last = date.fromordinal(size.first_day.toordinal() + DAYS - 1)
    for later in (0, 365):
        window = window_of(job.job.window, ChunkPayload(), date.fromordinal(TODAY.toordinal() + later))
        assert window.first_day <= size.first_day < last <= window.last_day
