"""Slices of PostgreSQL tables when the server refuses, breaks off, restarts or is slow."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contracts.runs import RunState
from services.fetcher.use_case.slices import PATIENCE
from services.runtime.failures import PermanentError, TemporaryError
from services.runtime.ledger import Step
from services.runtime.settings import PROJECT
from tests.postgres_support import Database, PostgresServer
from tests.unit.fetcher.slice_world import RotatedSecrets, SliceWorld, command, entity, postgres_rows

TYPES = {"order_id": "int64", "note": "string"}
MB = 1024 * 1024


@pytest.fixture
def world(database: Database, tmp_path: Path) -> SliceWorld:
    """A deployment on the test's own database, whose one table has 20 MB."""
    database.run(
        "CREATE TABLE orders (order_id bigint, updated_at timestamptz DEFAULT '2025-01-01', note text)",
        "INSERT INTO orders SELECT n, '2025-01-01', repeat(md5(n::text), 32) FROM generate_series(1, 20000) n",
    )
    return world_of(database.secret, tmp_path)


def world_of(secret: str, spool: Path) -> SliceWorld:
    """A deployment that reads one table."""
    return SliceWorld(spool, postgres_rows(secret), pipeline=entity(event_date=None))


def with_secret(secret: str, **members: object) -> str:
    """The secret with some of it otherwise."""
    return json.dumps(json.loads(secret) | members)


@asynccontextmanager
async def cutting_proxy(port: int, after: int) -> AsyncIterator[int]:
    """A way to the server that breaks off when so many bytes of answers have gone through; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)

        async def questions() -> None:
            while data := await reader.read(65_536):
                up_writer.write(data)

        asking = asyncio.create_task(questions())
        left = after
        with suppress(ConnectionError):
            while left > 0 and (data := await up_reader.read(65_536)):
                writer.write(data[:left])
                await writer.drain()
                left -= len(data)
        asking.cancel()
        for each in (writer, up_writer):
            each.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("after", [0, 100, 30_000, 100_000, 5 * MB, 15 * MB])
async def test_a_connection_that_breaks_off(
    database: Database, postgres: PostgresServer, world: SliceWorld, after: int
) -> None:
    """Wherever it breaks, nothing is stored and nothing is left over, and the next delivery reads everything."""
    await world.begin()
    async with cutting_proxy(postgres.port, after) as port:
        world.rows = postgres_rows(with_secret(database.secret, port=port))
        outcome = await world.fetch(command(TYPES))
    assert [*outcome.delays] == ["s1"]
    assert "127.0.0.1" in outcome.reasons["s1"]
    assert world.objects.puts == []
    assert world.left_over() == []
    assert (await world.entry()).step is Step.PLANNED
    world.rows = postgres_rows(database.secret)
    assert not (await world.fetch(command(TYPES), receives=2)).failed
    assert sorted(world.landed()[1].column("order_id").to_pylist()) == list(range(1, 20_001))
    assert (await world.entry()).fetched == 20_000


async def test_a_backend_that_is_terminated(database: Database, world: SliceWorld) -> None:
    """An administrator's act is not the query's fault: it is asked again."""
    rows = world.rows.read(world.pipeline, command(TYPES))
    assert (await anext(aiter(rows))).num_rows
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    # What was under way when the server closed the connection may take its words with it.
    words = r"terminating connection .*57P01|server closed the connection"
    with pytest.raises(TemporaryError, match=rf"shop.orders at 127.0.0.1:\d+/\w+: .*({words})"):
        async for _ in rows:
            pass


async def test_a_server_that_is_not_there(tmp_path: Path, database: Database) -> None:
    """Its command comes back, later each time; in the end its run fails for the other entities' sake."""
    world = world_of(with_secret(database.secret, port=1), tmp_path)
    await world.begin()
    first = await world.fetch()
    assert "Connection refused" in first.reasons["s1"]
    later = await world.fetch(receives=PATIENCE - 1)
    assert (later.delays["s1"] or 0) > (first.delays["s1"] or 0) >= 1
    assert (await world.run()).state is RunState.RUNNING
    assert not (await world.fetch(receives=PATIENCE)).failed
    run = await world.run()
    assert run.state is RunState.FAILED
    assert run.reason is not None
    assert "Connection refused" in run.reason
    assert "8 times" in run.reason


async def test_a_password_that_was_rotated(database: Database, tmp_path: Path, world: SliceWorld) -> None:
    """One that is refused is read anew, once; it may have any characters."""
    database.run(
        f"CREATE ROLE \"{database.name}\" LOGIN PASSWORD 'it''s \\ \"odd\" = %27'",
        f'GRANT SELECT ON orders TO "{database.name}"',
    )
    right = with_secret(database.secret, username=database.name, password='it\'s \\ "odd" = %27')  # noqa: S106
    wrong = with_secret(database.secret, username=database.name, password="0ld-s3cret")  # noqa: S106
    world = world_of(wrong, tmp_path)
    world.rows = postgres_rows(wrong, right)
    await world.begin()
    with capture_logs() as logs:
        assert not (await world.fetch(command(TYPES))).failed
    assert (await world.entry()).fetched == 20_000
    assert "s3cret" not in str(logs)
    database.run(f'REVOKE ALL ON orders FROM "{database.name}"', f'DROP ROLE "{database.name}"')


async def test_a_password_that_is_wrong(database: Database, tmp_path: Path) -> None:
    """Its run fails with the server's words, which have no secret; it was asked for twice."""
    secrets = RotatedSecrets(with_secret(database.secret, password="wr0ng-s3cret"))  # noqa: S106
    world = world_of("", tmp_path)
    rows = postgres_rows("")
    rows._access._secrets = secrets
    world.rows = rows
    await world.begin()
    with capture_logs() as logs:
        assert not (await world.fetch()).failed
    reason = (await world.run()).reason or ""
    assert "password authentication failed" in reason
    assert secrets.reads == [False, True]
    assert "s3cret" not in reason + str(logs)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [("database", "nowhere", 'database "nowhere" does not exist'), ("username", "nobody", "nobody")],
)
async def test_what_is_not_there(database: Database, tmp_path: Path, member: str, value: str, words: str) -> None:
    """A database or a user that does not exist fails the run at once."""
    world = world_of(with_secret(database.secret, **{member: value}), tmp_path)
    await world.begin()
    assert not (await world.fetch()).failed
    assert words in ((await world.run()).reason or "")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE orders", 'relation "public.orders" does not exist'),
        ("ALTER TABLE orders RENAME note TO remark", "has no column note any more"),
        ("ALTER TABLE orders ALTER updated_at TYPE text", "operator does not exist"),
    ],
)
async def test_a_query_that_is_refused(database: Database, world: SliceWorld, statement: str, words: str) -> None:
    """Its run fails in the server's words, in one line without the query."""
    database.run(statement)
    await world.begin()
    assert not (await world.fetch(command(TYPES))).failed
    reason = (await world.run()).reason or ""
    assert words in reason
    assert "\n" not in reason
    assert "COPY" not in reason


async def test_a_query_that_takes_too_long(database: Database, world: SliceWorld) -> None:
    """It is stopped by the server, and comes again."""
    database.run(
        "ALTER TABLE orders RENAME TO kept",
        "CREATE VIEW orders AS SELECT order_id, updated_at, note || pg_sleep(0.001)::text AS note FROM kept",
    )
    world.pipeline = entity(event_date=None, statement_timeout_s=1)
    await world.begin()
    outcome = await world.fetch(command(TYPES))
    assert "statement timeout" in outcome.reasons["s1"]
    assert world.left_over() == []


@pytest.mark.parametrize("reading", [False, True])
async def test_a_task_that_is_cancelled(database: Database, world: SliceWorld, reading: bool) -> None:  # noqa: FBT001
    """Its query ends at the server at once, and its file is gone, be it before the first row or amid them."""
    slow = "pg_sleep(0.002)" if reading else "pg_sleep(60)"
    database.run(
        "ALTER TABLE orders RENAME TO kept",
        f"CREATE VIEW orders AS SELECT order_id, updated_at, note || {slow}::text AS note FROM kept",  # noqa: S608
    )
    await world.begin()
    task = asyncio.create_task(world.fetch(command(TYPES)))
    connection = await database.connect()
    active = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'COPY%' AND state = 'active' AND pid <> pg_backend_pid()"
    )
    while not await connection.fetchval(active):  # noqa: ASYNC110 - the server says it in no other way
        await asyncio.sleep(0.01)
    if reading:
        await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    while await connection.fetchval(active):  # noqa: ASYNC110 - the server says it in no other way
        await asyncio.sleep(0.01)
    await connection.close()
    assert world.left_over() == []
    assert world.objects.puts == []


async def test_nobody_reads_on(database: Database, world: SliceWorld) -> None:
    """A reader that stops amid the rows leaves no connection behind."""
    rows = world.rows.read(world.pipeline, command(TYPES))
    assert (await anext(aiter(rows))).num_rows
    await rows.aclose()  # type: ignore[attr-defined]
    connection = await database.connect()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while await connection.fetchval(others):  # noqa: ASYNC110 - the server says it in no other way
        await asyncio.sleep(0.01)
    await connection.close()


async def test_a_secret_that_is_not_set(world: SliceWorld) -> None:
    """A declaration that still stands for a variable is named as such."""
    world.pipeline = entity(secret="${RDS_SECRET_ARN}")  # noqa: S106 - a variable
    with pytest.raises(PermanentError, match="RDS_SECRET_ARN"):
        await anext(aiter(world.rows.read(world.pipeline, command(TYPES))))


WIDE = """
import asyncio, sys
from pathlib import Path
from tests.unit.fetcher.slice_world import SliceWorld, command, entity, postgres_rows


class Nowhere:
    async def rows(self, bucket, key):
        return None

    async def create(self, bucket, key, file, *, rows):
        assert rows == 480
        return True


def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


async def main():
    from dataclasses import replace
    from services.fetcher.use_case import slices
    world = SliceWorld(Path(sys.argv[1]), postgres_rows(sys.stdin.read()), pipeline=entity(event_date=None))
    await world.begin()
    ports = world.ports()
    ports = replace(ports, landing=replace(ports.landing, objects=Nowhere()))
    types = {"order_id": "int64", "note": "string"}
    job = slices.SliceJob(command(types), world.pipeline, world.pipeline.source, "raw")
    before = peak_mb()
    await slices.fetch_slice(ports, job, 1)
    print(peak_mb() - before)


asyncio.run(main())
"""


async def test_memory_is_bounded(database: Database, tmp_path: Path) -> None:
    """Of 480 MB in rows of a megabyte each, far less is in memory at any time."""
    database.run(
        "CREATE VIEW orders AS SELECT n::bigint AS order_id, timestamptz '2025-01-01' AS updated_at,"
        " repeat(chr(64 + n % 50), 1000000) AS note FROM generate_series(1, 480) n"
    )
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", WIDE, str(tmp_path)],
        cwd=PROJECT,
        input=database.secret.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    assert int(process.stdout.split()[-1]) < 220
