"""The other database that a job takes its snapshot from: which one that is, and PostgreSQL as one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import AnalyticsSource, AnalyticsSources, Batch
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError
from services.runtime.postgres.access import ConnectionParameters, PostgresAccess
from services.runtime.postgres.connection import Connection, connect, leave
from services.runtime.postgres.errors import translated

BATCH_ROWS = 10_000
TIMEOUT_S = 600
"""Seconds that a query may take until its first row, and then for each batch."""


class AnalyticsByKind:
    """``AnalyticsSources`` by what a declaration says under ``analytics.kind``."""

    def __init__(self, kinds: Mapping[str, AnalyticsSources]) -> None:
        self._kinds = kinds

    def of(self, job: LoadedJob) -> AnalyticsSource:
        """See the port."""
        declared = job.job.analytics
        if declared is None:
            raise BadDeclarationError(f"{job.name} declares no analytics")
        if declared.kind not in self._kinds:
            raise BadDeclarationError(
                f"{job.name}: analytics.kind {declared.kind!r} needs a driver that is not installed: "
                f"pip install tidegate[{declared.kind}]"
            )
        return self._kinds[declared.kind].of(job)


def analytics_secret(job: LoadedJob) -> str:
    """The secret that a job's declaration names for its analytics.

    Raises:
        BadDeclarationError: it names none, or stands for a variable that is not set.
    """
    if job.job.analytics is None:
        raise BadDeclarationError(f"{job.name} declares no analytics")
    secret = job.job.analytics.secret
    if (variable := unset_variable(secret)) is not None:
        raise BadDeclarationError(f"{job.name}: analytics.secret needs {variable}, which is not set")
    return secret


class PostgresAnalytics:
    """``AnalyticsSources`` of PostgreSQL databases."""

    def __init__(self, access: PostgresAccess) -> None:
        self._access = access

    def of(self, job: LoadedJob) -> "PostgresAnalyticsSource":
        """See the port."""
        return PostgresAnalyticsSource(self._access, analytics_secret(job))


class PostgresAnalyticsSource:
    """``AnalyticsSource`` of one database: queries with numbered parameters, names by the user's own search path."""

    def __init__(self, access: PostgresAccess, secret: str) -> None:
        self._access = access
        self._secret = secret

    async def check(self) -> str:
        """See the port."""
        async with self._reading() as (connection, parameters):
            return await said_of(connection, parameters.place)

    async def read(self, query: str, given: Sequence[str | date]) -> AsyncIterator[Batch]:
        """See the port. The first batch may have no rows; it has the columns nevertheless."""
        async with self._reading() as (connection, _):
            statement = await connection.prepare(query, name="")
            columns = tuple(attribute.name for attribute in statement.get_attributes())
            cursor = await statement.cursor(*given)
            rows = await cursor.fetch(BATCH_ROWS)
            yield Batch(columns, rows)
            while len(rows) == BATCH_ROWS:
                rows = await cursor.fetch(BATCH_ROWS)
                yield Batch(columns, rows)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[tuple[Connection, ConnectionParameters]]:
        connection, parameters = await connect(self._access, self._secret)
        try:
            with translated(f"analytics at {parameters.place}"):
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(
                        f"SET LOCAL timezone = 'UTC'; SET LOCAL statement_timeout = '{TIMEOUT_S}s'"
                    )
                    yield connection, parameters
        finally:
            await leave(connection)


async def said_of(connection: Connection, place: str) -> str:
    """What a server is and as whom it was asked, for people."""
    row = await connection.fetchrow(
        """
        SELECT current_setting('server_version') AS version, current_user::text AS name,
            pg_is_in_recovery()::integer AS copy
        """
    )
    replica = ", a replica that can only be read" if row["copy"] else ""
    return f"PostgreSQL {row['version']} at {place} as {row['name']}{replica}"
