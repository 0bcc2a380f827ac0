import asyncio
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.conflict_report.oracle import recompute
from tests.integration.conflict_report.report_support import computed, create, put, sql, take_snapshot
from tests.postgres_support import PostgresServer

Connection: TypeAlias = "asyncpg.Connection[Any]"

DAY = date(2026, 3, 1)
MOMENTS = [datetime(2026, 3, 1, 8) + timedelta(minutes=20 * n) for n in range(5)]  # noqa: DTZ001 - local, as stored
"""Few enough that intervals are equal, touch, nest, end before they begin, and last no time."""
TIMES = st.sampled_from([*MOMENTS, *MOMENTS, None])
VISIT = st.fixed_dictionaries(
    {
        "SSN": st.sampled_from([*["O'Neil\""] * 6, "Ž李🙂", None]),
        "VisitID": st.sampled_from(["A", "B", "a", "É", "A", "B", "a", "É", None]),
        "VisitDate": st.sampled_from([DAY, DAY, DAY, DAY + timedelta(days=1)]),
        "ProviderID": st.sampled_from(["P1", "P2", "P3", "P1", "P2", "P3", None]),
        "ProviderName": st.sampled_from(["One", None]),
        "SchStartTime": TIMES,
        "SchEndTime": TIMES,
        "VisitStartTime": st.none() | TIMES,
        "VisitEndTime": TIMES,
        "PZipCode": st.sampled_from(["10001", "10002", None]),
        "PLatitude": st.sampled_from([40.5, 40.6, 40.9, 95.0, None]),
        "PLongitude": st.sampled_from([-74.0, -73.7, None]),
    }
)
VISITS = (
    st.integers(2, 24)
    .flatmap(lambda size: st.lists(VISIT, min_size=size, max_size=size))
    .map(lambda visits: [{"ID": number, **visit} for number, visit in enumerate(visits, 1)])
)
LARGE = 'UPDATE conflictvisitmaps_temp SET "LargeKey" = "SmallKey", "SmallKey" = NULL'


class Report:
    """A connection on a loop of its own, so that a test that is no coroutine can use it."""

    def __init__(self, server: PostgresServer) -> None:
        self._database = server.new_database()
        self._loop = asyncio.Runner()
        self._connection: Connection = self._loop.run(self._database.connect())
        self._loop.run(create(self._connection))

    def recompute(self, visits: list[dict[str, Any]], *, large: bool) -> dict[int, dict[str, Any]]:
        """What the SQL makes of these visits, and no others."""
        return self._loop.run(self._recompute(visits, large=large))

    async def _recompute(self, visits: list[dict[str, Any]], *, large: bool) -> dict[int, dict[str, Any]]:
        await self._connection.execute("DELETE FROM conflictvisitmaps")
        await put(self._connection, visits)
        await take_snapshot(self._connection, "run")
        if large:
            await self._connection.execute(LARGE)
        await self._connection.execute(sql("task_02"))
        return await computed(self._connection)

    def close(self) -> None:
        """Leave nothing."""
        self._loop.run(self._connection.close())
        self._loop.close()
        self._database.server.drop(self._database)


@pytest.fixture(scope="module")
def report(postgres: PostgresServer) -> Iterator[Report]:
    report = Report(postgres)
    yield report
    report.close()


@settings(max_examples=100, deadline=None)
@given(visits=VISITS, large=st.booleans())
def test_the_statement_says_what_the_rules_say(report: Report, visits: list[dict[str, Any]], *, large: bool) -> None:
    """Every row gets the partner and columns that looking at every pair gives, as a small key and as a large one."""
    assert report.recompute(visits, large=large) == recompute(visits)
