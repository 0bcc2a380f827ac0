"""The loop that is usually written: chunks of keys, each marked and then updated where any of its key pairs matches."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import asyncpg

from bench.conflict_report.source import in_a_process, snapshot, sql

TARGET_ROWS = 10_000
MAX_KEYS = 100
"""More alternatives than this in one condition only make it slower."""

Key = tuple[date, str | None]


async def loop(address: str) -> Mapping[str, object]:
    """One worker, one connection, chunk after chunk."""
    connection = await asyncpg.connect(address, statement_cache_size=0)
    try:
        await connection.execute('CREATE INDEX ON conflictvisitmaps ("VisitDate", "SSN")', timeout=600)
        await snapshot(connection)
        started, cpu = time.perf_counter(), time.process_time()
        update, rows, chunks = sql("task_02"), 0, 0
        for keys in _chunks([(row[0], row[1], row[2]) for row in await connection.fetch(sql("distribution"))]):
            marked = await connection.execute(
                f'UPDATE conflictvisitmaps AS visit SET "UpdateFlag" = 1 WHERE ({_any(keys, "visit")})'  # noqa: S608
                ' AND ("UpdateFlag" IS NULL OR "UpdateFlag" != 1)'
            )
            if marked == "UPDATE 0":
                continue
            tag = await connection.execute(f'{update} AND visit."UpdateFlag" = 1 AND ({_any(keys, "v1")})')
            rows += int(tag.rpartition(" ")[2])
            chunks += 1
        cost = {"work_s": time.perf_counter() - started, "work_cpu_s": time.process_time() - cpu}
    finally:
        await connection.close()
    return {"rows": rows, "chunks": chunks, **cost}


def _chunks(distribution: Sequence[tuple[date, str | None, int]]) -> Iterator[list[Key]]:
    keys: list[Key] = []
    held = 0
    for day, ssn, rows in distribution:
        if keys and (held + rows > TARGET_ROWS or len(keys) == MAX_KEYS):
            yield keys
            keys, held = [], 0
        keys.append((day, ssn))
        held += rows
    if keys:
        yield keys


def _any(keys: Sequence[Key], table: str) -> str:
    return " OR ".join(
        f'({table}."VisitDate" = \'{day}\' AND {table}."SSN" {_is(ssn)})'  # the values are the generator's own
        for day, ssn in keys
    )


def _is(ssn: str | None) -> str:
    return "IS NULL" if ssn is None else "= '" + ssn.replace("'", "''") + "'"


if __name__ == "__main__":
    in_a_process(loop(sys.argv[1]))
