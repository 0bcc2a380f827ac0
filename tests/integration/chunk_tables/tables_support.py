"""A small job for the tests of chunks in PostgreSQL: items by a key of any type, each worked on by counting up."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeAlias

import asyncpg

from contracts.chunk_jobs import ChunkJob
from contracts.chunks import ChunkKeys, PlannedChunk
from services.chunk_worker.ports import Work
from services.runtime.chunking.jobs import LoadedJob
from services.runtime.chunking.ports import KeyRows, Window

Connection: TypeAlias = "asyncpg.Connection[Any]"

JOB, RUN, SECRET = "items", "run", "items-postgres"
BLOCKED = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
"""Whether anybody waits for a lock."""
WINDOW = Window(date(2026, 1, 1), date(2026, 12, 31))
TEXTS = {
    "setup.sql": """
        CREATE TABLE IF NOT EXISTS items (id bigint PRIMARY KEY, k {type}, worked integer DEFAULT 0, locked boolean);
        CREATE TABLE IF NOT EXISTS copied (id bigint PRIMARY KEY, k {type});
        CREATE TABLE IF NOT EXISTS finished (run_id text)
    """,
    "clear.sql": "TRUNCATE copied",
    "copy.sql": "INSERT INTO copied SELECT id, k FROM items",
    "distribution.sql": "SELECT k, count(*) AS rows FROM copied GROUP BY k ORDER BY min(id)",
    "preview.sql": "SELECT k, count(*) AS rows FROM items WHERE $1::date < $2::date GROUP BY k ORDER BY min(id)",
    "mark.sql": """
        UPDATE items SET locked = true FROM unnest($1::{type}[]) AS key (k) JOIN copied
        ON copied.k IS NOT DISTINCT FROM key.k WHERE items.id = copied.id
    """,
    "process.sql": """
        UPDATE items SET worked = worked + 1, locked = NULL FROM unnest($1::{type}[]) AS key (k) JOIN copied
        ON copied.k IS NOT DISTINCT FROM key.k WHERE items.id = copied.id
    """,
    "whole.sql": "UPDATE items SET worked = worked + 1 FROM copied WHERE copied.id = items.id",
    "gone.sql": """
        SELECT count(*) FROM unnest($1::{type}[]) AS key (k) JOIN copied ON copied.k IS NOT DISTINCT FROM key.k
        WHERE NOT EXISTS (SELECT FROM items WHERE items.id = copied.id)
    """,
    "finish.sql": "INSERT INTO finished VALUES ($1::text)",
}


def job_of(type_: str = "text", *, texts: dict[str, str] | None = None, **changes: Any) -> LoadedJob:
    """The job with some of it changed; ``sql`` and ``database`` are added to, a member that is None is left out."""
    document: dict[str, Any] = {
        "name": JOB,
        "keys": {"k": {"type": type_}},
        "database": {"secret": SECRET, "statement_timeout_s": 20, "lock_timeout_s": 10},
        "sql": {
            "setup": ["setup.sql"],
            "prepare": [{"file": "clear.sql"}, {"file": "copy.sql"}],
            "preview": {"file": "preview.sql", "given": ["first_day", "last_day"]},
            "distribution": "distribution.sql",
            "mark": "mark.sql",
            "process": "process.sql",
            "gone": "gone.sql",
            "whole": "whole.sql",
            "finish": {"file": "finish.sql", "given": ["run_id"]},
        },
    }
    for name, change in changes.items():
        document[name] = {**document.get(name, {}), **change}
    document["sql"] = {name: value for name, value in document["sql"].items() if value is not None}
    filled = {name: text.replace("{type}", type_) for name, text in {**TEXTS, **(texts or {})}.items()}
    job = ChunkJob.parse(document, where="job.toml")
    return LoadedJob(job, {name: filled[name] for name in job.files})


def chunk_of(job: LoadedJob, chunk_id: str, keys: Sequence[KeyRows], *, token: int = 1, run: str = RUN) -> Work:
    """Keys in the hands of the holder of a token."""
    document = ChunkKeys(
        columns=list(job.job.keys),
        values=[[key.values[place] for key in keys] for place in range(len(job.job.keys))],
        rows=[key.rows for key in keys],
    )
    return Work(job, run, chunk_id, token, sum(key.rows for key in keys), document)


def planned(work: Work) -> PlannedChunk:
    """The chunk as a plan has it."""
    return PlannedChunk(chunk_id=work.chunk_id, rows=work.rows, keys=1, sha256="0" * 64)


def younger(work: Work) -> Work:
    """The same chunk in the hands of the next holder."""
    return replace(work, token=work.token + 1)


async def until(connection: Connection, query: str) -> None:
    """Wait until a query's answer is true."""
    async with asyncio.timeout(10):
        while not await connection.fetchval(query):  # noqa: ASYNC110 - another server's state has no event
            await asyncio.sleep(0.005)
