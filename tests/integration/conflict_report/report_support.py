"""What the tests of the conflict report share: its statements, and its protocol as a worker follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import asyncpg

from services.runtime.settings import PROJECT
from tests.integration.conflict_report.oracle import COMPUTED

Connection: TypeAlias = "asyncpg.Connection[Any]"

SQL = PROJECT / "pipelines" / "conflict_report" / "sql"
PROTOCOL = PROJECT / "services" / "runtime" / "postgres" / "chunk_sql"
JOB = "conflict_report"
OPEN = ("planned", "marked")
CHUNKS = "SELECT chunk_id, state, planned_rows, updated_rows FROM tidegate_chunks WHERE run_id = $1"
"""Every chunk of a run, and every part of those that were split."""
FIRST_DAY, LAST_DAY = date(2026, 1, 1), date(2026, 12, 31)

Key = tuple[date, str | None]


def sql(name: str) -> str:
    """The text of one statement."""
    own = SQL / f"{name}.sql"
    return (own if own.exists() else PROTOCOL / f"{name}.sql").read_text(encoding="utf-8")


async def create(connection: Connection) -> None:
    """Tables and functions, in an empty database."""
    await connection.execute(sql("tables"))
    await connection.execute(sql("ddl"))
    await connection.execute(sql("rules"))


async def take_snapshot(connection: Connection, run: str, *, days: tuple[date, date] = (FIRST_DAY, LAST_DAY)) -> None:
    """Task 01."""
    async with connection.transaction():
        await connection.execute(sql("open"), JOB, run)
        await connection.execute(sql("task_01_open"), run)
        await connection.execute(sql("task_01_release"))
        await connection.execute(sql("task_01_clear"))
        await connection.execute(sql("task_01"), *days)
        await connection.execute(sql("task_01_analyze"))


@dataclass(frozen=True)
class Chunk:
    """Keys that one worker updates in one transaction."""

    run: str
    id: str
    keys: Sequence[Key]
    rows: int

    @property
    def arrays(self) -> tuple[list[date], list[str | None]]:
        """The keys as the statements take them."""
        return [day for day, _ in self.keys], [ssn for _, ssn in self.keys]


async def mark(connection: Connection, chunk: Chunk, token: int) -> int | None:
    """Claim and mark; rows marked, or None if the claim was refused."""
    async with connection.transaction():
        if await connection.fetchrow(sql("claim"), JOB, chunk.run, chunk.id, token, chunk.rows) is None:
            return None
        return count(await connection.execute(sql("mark"), *chunk.arrays))


async def update(connection: Connection, chunk: Chunk, token: int) -> int | None:
    """Check the fence, update and note it; rows updated, or None if the fence did not let it pass."""
    async with connection.transaction():
        if await connection.fetchrow(sql("fence"), JOB, chunk.run, chunk.id, token) is None:
            return None
        rows = count(await connection.execute(sql("task_02_chunk"), *chunk.arrays))
        await connection.execute(sql("done"), chunk.run, chunk.id, rows)
        return rows


async def unfinished(connection: Connection, run: str) -> list[str]:
    """Chunks of a run that are neither done nor split."""
    return [row["chunk_id"] for row in await connection.fetch(CHUNKS, run) if row["state"] in OPEN]


def count(tag: str) -> int:
    """Rows of a command, by what the server says at its end."""
    return int(tag.rpartition(" ")[2])


async def status(connection: Connection, name: str = "status") -> dict[str, int]:
    """Rows by status."""
    return {row["status"]: row["rows"] for row in await connection.fetch(sql(name))}


async def put(connection: Connection, visits: Sequence[Mapping[str, Any]]) -> None:
    """Insert visits; columns that they do not name are NULL."""
    columns = tuple(visits[0])
    await connection.copy_records_to_table(
        "conflictvisitmaps", columns=columns, records=[tuple(visit[name] for name in columns) for visit in visits]
    )


async def computed(connection: Connection) -> dict[int, dict[str, Any]]:
    """The computed columns of every row, by "ID"."""
    rows = await connection.fetch("SELECT * FROM conflictvisitmaps")
    return {row["ID"]: {name: row[name] for name in COMPUTED} for row in rows}


async def digest(connection: Connection) -> tuple[int, int]:
    """Of all rows with all columns but the time of their update: how many, and a sum that any difference changes."""
    row = await connection.fetchrow(
        """
        SELECT count(*), coalesce(sum(hashtextextended((to_jsonb(visit) - 'UpdatedDate')::text, 0)::numeric), 0)
        FROM conflictvisitmaps AS visit
        """
    )
    assert row is not None
    return int(row[0]), int(row[1])


async def plan_chunks(connection: Connection, run: str, *, target: int) -> list[Chunk]:
    """All keys of the snapshot in chunks of up to ``target`` rows; a larger key is a chunk of its own."""
    chunks: list[Chunk] = []
    keys: list[Key] = []
    rows = 0
    for day, ssn, count_ in await connection.fetch(sql("distribution")):
        if keys and rows + count_ > target:
            chunks.append(Chunk(run, str(len(chunks)), keys, rows))
            keys, rows = [], 0
        keys.append((day, ssn))
        rows += count_
    chunks.append(Chunk(run, str(len(chunks)), keys, rows))
    await connection.execute(sql("plan"), run, [chunk.id for chunk in chunks], [chunk.rows for chunk in chunks])
    return chunks
