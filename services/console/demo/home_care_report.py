"""The conflict report's database as somebody sees it who asks it directly, without any of the services' own code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from contracts.chunk_jobs import Copy, Statement
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import Window

Connection: TypeAlias = "asyncpg.Connection[Any]"
Row: TypeAlias = Mapping[str, Any]

STATUSES = ("pending", "locked", "completed")
FLAGS = (
    "SameSchTimeFlag",
    "SameVisitTimeFlag",
    "SchAndVisitTimeSameFlag",
    "SchOverAnotherSchTimeFlag",
    "VisitTimeOverAnotherVisitTimeFlag",
    "SchTimeOverVisitTimeFlag",
    "DistanceFlag",
)
"""The rules, from the strongest on."""
VOLATILE = "UpdatedDate"
"""The only column that a repetition changes."""


@dataclass(frozen=True, slots=True)
class Report:
    """The visits, and what runs have made of them."""

    connection: Connection
    job: LoadedJob
    folder: Path
    """Of the job."""

    async def rows(self) -> dict[int, Row]:
        """Every visit with all of its columns but the time of its update, by ID."""
        records = await self.connection.fetch("SELECT * FROM conflictvisitmaps")
        return {record["ID"]: {k: v for k, v in record.items() if k != VOLATILE} for record in records}

    async def foreseen(self, window: Window) -> dict[int, Row]:
        """What the rows are after the one statement that works on all of them; it is taken back again."""
        given: Mapping[str, str | date] = {
            "run_id": "demo",
            "first_day": window.first_day,
            "last_day": window.last_day,
        }
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            for step in self.job.job.sql.prepare:
                statement: Statement = step.query if isinstance(step, Copy) else step
                await self.connection.execute(self.job.text(statement.file), *(given[name] for name in statement.given))
            await self.connection.execute(self.job.text(self.job.job.sql.whole or self.job.job.sql.process))
            return await self.rows()
        finally:
            await transaction.rollback()

    async def status(self) -> dict[str, int]:
        """Rows by what has happened to them, as people ask for it (``sql/status.sql``)."""
        return dict.fromkeys(STATUSES, 0) | dict(await self.connection.fetch(self._sql("status")))

    async def completed_within(self, seconds: float) -> int:
        """Rows that were completed in the last so many seconds (``sql/status_recent.sql``)."""
        return int(await self.connection.fetchval(self._sql("status_recent"), seconds))

    def _sql(self, name: str) -> str:
        return (self.folder / "sql" / f"{name}.sql").read_text(encoding="utf-8")

    async def versions(self) -> dict[int, int]:
        """Which transaction has written each row."""
        return dict(await self.connection.fetch('SELECT "ID", xmin::text::bigint FROM conflictvisitmaps'))

    async def postpone(self) -> int:
        """Put every fiftieth visit off by half an hour; how many those are."""
        half_an_hour = "interval '30 minutes'"
        columns = ("SchStartTime", "SchEndTime", "VisitStartTime", "VisitEndTime")
        sets = ", ".join(f'"{column}" = "{column}" + {half_an_hour}' for column in columns)
        tag = await self.connection.execute(f'UPDATE conflictvisitmaps SET {sets} WHERE "ID" % 50 = 7')  # noqa: S608 - our words
        return int(tag.rpartition(" ")[2])


def conflicts(rows: Mapping[int, Row]) -> Sequence[tuple[str, int]]:
    """Rows with a conflict by each rule."""
    return [(flag, sum(row[flag] == "Y" for row in rows.values())) for flag in FLAGS]


def equal(expected: Mapping[int, Row], seen: Mapping[int, Row]) -> int:
    """Rows that are the same in every column."""
    return sum(seen.get(number) == row for number, row in expected.items())
