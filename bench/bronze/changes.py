"""A source that does not hold still: three runs, transactions that commit late, and rows that change in between."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from bench import PROJECT
from bench.bronze.contenders import Contender, Services
from bench.bronze.ours import Ours
from bench.bronze.output import Tally, tally
from bench.bronze.source import CURSOR, KEY, TABLE, Source
from bench.nyc_311.arena import Arena, arena
from contracts.runs import LoadType

RUNS = 3
SHARE = 100
"""Of so many rows one changes between two runs."""
LATE = 500
"""Rows of a transaction that commits after the run."""
CALM_S = 3.0
"""After the last commit ours waits for its lag, as its schedule would; so long nobody writes."""

Versions = set[tuple[int, int]]


class FailedPeerError(Exception):
    """A peer's run ended with an error; its own message is on stderr."""


def perform(contender: Contender, source: Source) -> Tally:
    """Play three runs with one contender on an empty arena, on the table as it is left by whoever was before."""
    with arena() as place:
        if not isinstance(contender, Services):
            place.make_buckets()
        versions = versions_of(source)
        with playing(contender, place, source) as run:
            for moment in range(RUNS):
                if moment:
                    change(source, moment)
                    versions |= versions_of(source)
                if moment < RUNS - 1:
                    versions |= overtaken(source, moment, run)
                else:
                    time.sleep(CALM_S)
                    run()
        return tally(place, versions)


def versions_of(source: Source) -> Versions:
    """The versions that are there now: each key with its cursor in microseconds."""
    micros = f"(extract(epoch FROM {CURSOR}) * 1000000)::bigint"
    return {(row[0], row[1]) for row in source.do(f"SELECT {KEY}, {micros} FROM {TABLE}")}  # noqa: S608 - our own words


def change(source: Source, moment: int) -> None:
    """Change some rows, one statement after the other, so that they have cursors of their own."""
    for part in range(4):
        source.do(
            f"UPDATE {TABLE} SET amount = amount + 1, {CURSOR} = clock_timestamp() "  # noqa: S608 - our own words
            f"WHERE {KEY} <= $3 AND {KEY} % $1 = $2",
            SHARE * 4,
            moment * 4 + part,
            source.rows,
        )


def overtaken(source: Source, moment: int, run: Callable[[], None]) -> Versions:
    """Run while a transaction is open whose rows are older than others that were committed; then commit it."""
    return asyncio.run(_overtaken(source, moment, run))


async def _overtaken(source: Source, moment: int, run: Callable[[], None]) -> Versions:
    late: asyncpg.Connection[Any] = await source.database.connect()
    try:
        transaction = late.transaction()
        await transaction.start()
        first = 10_000_000 * (moment + 1) + source.rows + int(time.time()) * 1_000
        await late.execute(_INSERT, first, first + LATE - 1)
        await asyncio.to_thread(source.do, _INSERT, first + LATE, first + 2 * LATE - 1)
        await asyncio.to_thread(run)
        await transaction.commit()
    finally:
        await late.close()
    return await asyncio.to_thread(versions_of, source)


_INSERT = """
INSERT INTO orders
SELECT n, 1, 1, now(), clock_timestamp(), current_date, 'placed', 'EUR', false, NULL, 1
FROM generate_series($1::bigint, $2::bigint) AS n
"""


@contextmanager
def playing(contender: Contender, place: Arena, source: Source) -> Iterator[Callable[[], None]]:
    """What starts a contender's run and waits for its end."""
    if not isinstance(contender, Services):
        command = contender.command(place, source)

        def run() -> None:
            if code := subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL, check=False).returncode:
                raise FailedPeerError(f"{contender.name} exited with {code}")

        yield run
        return
    ours = Ours(place, source, contender.staff, contender.settings)
    ours.workers.start()
    try:

        def run_ours() -> None:
            ours.run(LoadType.INCREMENTAL)

        yield run_ours
    finally:
        ours.workers.stop()
