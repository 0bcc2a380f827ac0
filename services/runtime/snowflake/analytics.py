"""Snowflake as the database that a job takes its snapshot from."""

from collections.abc import AsyncIterator, Sequence
from datetime import date

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import Batch
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError
from services.runtime.secrets import Secrets
from services.runtime.snowflake.access import driver
from services.runtime.snowflake.session import open_session

BATCH_ROWS = 10_000


class SnowflakeAnalytics:
    """``AnalyticsSources`` of Snowflake accounts."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def of(self, job: LoadedJob) -> "SnowflakeAnalyticsSource":
        """See the port."""
        declared = job.job.analytics
        if declared is None or declared.kind != "snowflake":
            raise BadDeclarationError(f"{job.name} declares no analytics of Snowflake")
        if (variable := unset_variable(declared.secret)) is not None:
            raise BadDeclarationError(f"{job.name}: analytics.secret needs {variable}, which is not set")
        driver()
        return SnowflakeAnalyticsSource(self._secrets, declared.secret)


class SnowflakeAnalyticsSource:
    """``AnalyticsSource`` of one account: queries with a question mark for each of their values."""

    def __init__(self, secrets: Secrets, secret: str) -> None:
        self._secrets = secrets
        self._secret = secret

    async def check(self) -> str:
        """See the port."""
        async with open_session(self._secrets, self._secret) as session:
            ((version, user, database),) = await session.rows(
                "SELECT CURRENT_VERSION(), CURRENT_USER(), CURRENT_DATABASE()"
            )
        return f"Snowflake {version}, database {database}, as {user}"

    async def read(self, query: str, given: Sequence[str | date]) -> AsyncIterator[Batch]:
        """See the port. The first batch may have no rows; it has the columns nevertheless."""
        async with open_session(self._secrets, self._secret) as session:
            async for columns, rows in session.batches(query, given, BATCH_ROWS):
                yield Batch(columns, rows)
