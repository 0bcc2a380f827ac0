"""What the server can give at all: the whole table as a binary COPY, thrown away."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from bench.bronze.job import Job, carry_out


def copy(job: Job) -> Mapping[str, object]:
    """Read everything and keep nothing."""
    return asyncio.run(_copy(job))


async def _copy(job: Job) -> Mapping[str, object]:
    connection = await asyncpg.connect(job.url)
    try:
        status = await connection.copy_from_table(job.table, output=Path(os.devnull), format="binary")
    finally:
        await connection.close()
    return {"rows": int(status.split()[-1])}


if __name__ == "__main__":
    carry_out(copy)
