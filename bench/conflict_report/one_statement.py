"""Task 02 in one statement: what chunks are measured against."""

import sys
import time
from collections.abc import Mapping

import asyncpg

from bench.conflict_report.source import in_a_process, snapshot, sql


async def one_statement(address: str) -> Mapping[str, object]:
    """Recompute every row at once, on one connection."""
    connection = await asyncpg.connect(address)
    try:
        await snapshot(connection)
        started, cpu = time.perf_counter(), time.process_time()
        tag = await connection.execute(sql("task_02"), timeout=7_200)
        cost = {"work_s": time.perf_counter() - started, "work_cpu_s": time.process_time() - cpu}
    finally:
        await connection.close()
    return {"rows": int(tag.rpartition(" ")[2]), "chunks": 1, **cost}


if __name__ == "__main__":
    in_a_process(one_statement(sys.argv[1]))
