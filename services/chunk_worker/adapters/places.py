"""Where job databases are, out of their secrets."""

from services.runtime.chunking.jobs import LoadedJob
from services.runtime.postgres.access import PostgresAccess


class SecretPlaces:
    """``Places`` over connection secrets."""

    def __init__(self, access: PostgresAccess) -> None:
        self._access = access

    async def place(self, job: LoadedJob) -> str:
        """See the port."""
        return (await self._access.parameters(job.job.database.secret)).place
