"""Ours: one plain sorted file, whose beginning stays where it is."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from bench.merge.job import BUCKET, KEY, ONE_FILE, carry_out
from contracts.segments import Destination
from services.merger.adapters.append.assembly import Stores
from services.merger.adapters.append.strategy import Append
from services.merger.core.commits import STAMP_COMMIT
from services.merger.ports import MergeStrategy
from services.runtime.aws.clients import Clients
from services.runtime.aws.multipart import S3Multipart
from services.runtime.aws.objects import S3Objects
from services.runtime.declarations import load_pipeline
from services.runtime.settings import PROJECT
from services.runtime.telemetry import configure_logging

SEED_ROWS = 1_000_000
"""Rows that are merged at once when the table is made: it shall have grown."""
AT = Destination(bucket=BUCKET, key=KEY)


class Ours:
    """The merger's append strategy, without its lease, ledger and manifest: what the peers do not have either."""

    def __init__(self, state: Path) -> None:
        del state
        configure_logging("bench", "ERROR")
        self._pipeline = load_pipeline(PROJECT / "pipelines" / "visit_events.toml")
        self._runner = asyncio.Runner()
        self._resources = AsyncExitStack()
        clients = self._runner.run(self._resources.enter_async_context(Clients("s3")))
        self.objects = S3Objects(clients.s3)
        self.strategy = self.chosen(Stores(self.objects, S3Multipart(clients.s3)))

    def chosen(self, stores: Stores) -> MergeStrategy:
        """The strategy."""
        return Append(stores)

    def seed(self, rows: pa.Table) -> None:
        """See ``Table``."""
        for first in range(0, rows.num_rows, SEED_ROWS):
            self.merge(rows.slice(first, SEED_ROWS))

    def merge(self, rows: pa.Table) -> None:
        """See ``Table``."""
        self._runner.run(self._merge(rows))

    def compact(self) -> None:
        """See ``Table``: a merge that finds too many row groups does it."""

    def files(self) -> list[str]:
        """See ``Table``."""
        return [ONE_FILE]

    def close(self) -> None:
        """Close its connections."""
        self._runner.run(self._resources.aclose())
        self._runner.close()

    async def _merge(self, rows: pa.Table) -> None:
        commit = str(uuid4())
        base = await self.objects.head(AT.bucket, AT.key)
        prepared = await self.strategy.prepare(AT, self._pipeline, base, rows, commit)
        await prepared.put({STAMP_COMMIT: commit})


if __name__ == "__main__":
    carry_out(Ours)
