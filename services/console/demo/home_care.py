"""Home-care visits for the conflict report: made inside the database, so that a million take seconds.

Everything follows from a seed. A caregiver has one to eight visits a day, most of them few; some visits share times,
touch or overlap, some have no SSN, no times or no coordinates, and some VisitIDs occur twice. One key can be made as
large as wanted, as where one placeholder is entered for every unknown caregiver.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import asyncpg

from services.console.demo.home_care_tables import CONFLICTS, KEYS, PLACEHOLDER, PREPARE, VISITS

Connection: TypeAlias = "asyncpg.Connection[Any]"

MAX_VISITS = 1_000_000
SEED = 2026


@dataclass(frozen=True, slots=True)
class HomeCare:
    """How many visits there are, and when.

    Raises:
        ValueError: the numbers contradict each other.
    """

    visits: int
    first_day: date
    days: int = 90
    skewed: int = 0
    """Rows of the one large key, which lies in the middle of the days; they are among ``visits``."""
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 1 <= self.visits <= MAX_VISITS:
            raise ValueError(f"visits must be from 1 to {MAX_VISITS:,}, not {self.visits:,}")
        if not 0 <= self.skewed <= self.visits:
            raise ValueError(f"skewed must be from 0 to {self.visits:,}, not {self.skewed:,}")
        if self.days < 1:
            raise ValueError(f"days must be at least 1, not {self.days}")


async def fill(connection: Connection, size: HomeCare) -> None:
    """Put the visits, and a conflict for every third of them, into the empty tables of the conflict report."""
    async with connection.transaction():
        for statement in PREPARE:
            await connection.execute(statement)
        await connection.execute(KEYS, size.seed, size.visits - size.skewed, size.first_day, size.days)
        await connection.execute(PLACEHOLDER, size.skewed, size.first_day, size.days)
        await connection.execute(VISITS, size.seed)
        await connection.execute(CONFLICTS)
    await connection.execute("ANALYZE conflictvisitmaps")
