import asyncio
import json
from datetime import date
from typing import Any, TypeAlias

import asyncpg
import pytest

from contracts.chunks import PlannedChunk
from services.chunk_worker.adapters.postgres import PostgresChunkTables
from services.chunk_worker.ports import Claimed
from services.console.demo.home_care import HomeCare, fill
from services.runtime.chunking.jobs import load_jobs
from services.runtime.chunking.ports import Window
from services.runtime.failures import BadDeclarationError, PermanentError, TemporaryError
from services.runtime.postgres.chunk_database import PostgresJobDatabases
from services.runtime.settings import PROJECT
from tests.fakes.secrets import FakeSecrets
from tests.integration.chunk_tables.tables_support import RUN, SECRET, WINDOW, chunk_of, job_of
from tests.postgres_support import Database

Connection: TypeAlias = "asyncpg.Connection[Any]"


async def test_a_snapshot_is_taken_once(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """The first call makes tables and snapshot; whoever repeats it changes nothing; the next run takes its own."""
    database = databases.of(job_of())
    assert await database.present_run() is None
    assert await database.prepare(RUN, WINDOW)
    assert await database.present_run() == RUN
    await watcher.execute("INSERT INTO items VALUES (1, 'a')")
    assert not await database.prepare(RUN, WINDOW)
    assert not [key async for key in database.distribution()]
    assert await database.prepare("next", WINDOW)
    assert await database.present_run() == "next"
    assert [key.rows async for key in database.distribution()] == [1]


async def test_whoever_prepares_at_the_same_time_takes_one_snapshot(
    databases: PostgresJobDatabases, watcher: Connection
) -> None:
    """Tables are made by one at a time, also where none were, and of many calls for a run one takes its snapshot."""
    database = databases.of(job_of(texts={"copy.sql": "INSERT INTO finished SELECT 'taken'"}))
    taken = await asyncio.gather(*(database.prepare(RUN, WINDOW) for _ in range(8)))
    assert sorted(taken) == [False] * 7 + [True]
    assert await watcher.fetchval("SELECT count(*) FROM finished") == 1


async def test_a_step_that_fails_leaves_no_snapshot(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """All steps are one transaction: the job stays with the run it had, and the next try starts over."""
    await databases.of(job_of()).prepare(RUN, WINDOW)
    await watcher.execute("INSERT INTO copied VALUES (1, 'a')")
    for text, said in (
        ("INSERT INTO nowhere VALUES (1)", 'copy.sql: relation "nowhere" does not exist'),
        ("-- a\n /* b */ Commit", r"copy\.sql: Commit: a step is part of a transaction, and may not end it"),
        ("SELECT $1::text", "copy.sql: the server expects 1 argument"),
        ("SELECT 1; SELECT 2", "copy.sql: cannot insert multiple commands"),
    ):
        with pytest.raises(PermanentError, match=said):
            await databases.of(job_of(texts={"copy.sql": text})).prepare("next", WINDOW)
        assert await databases.of(job_of()).present_run() == RUN
        assert await watcher.fetchval("SELECT count(*) FROM copied") == 1


async def test_steps_are_given_what_they_declare(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """In the declared order; days are days; the end of a run knows no days."""
    texts = {"copy.sql": "INSERT INTO finished SELECT $2 || ' from ' || $1::date - 1 || ' to ' || $3::date"}
    step = {"file": "copy.sql", "given": ["first_day", "run_id", "last_day"]}
    database = databases.of(job_of(texts=texts, sql={"prepare": [step]}))
    await database.prepare(RUN, Window(date(2026, 3, 1), date(2026, 3, 31)))
    assert await watcher.fetchval("SELECT run_id FROM finished") == "run from 2026-02-28 to 2026-03-31"
    late = databases.of(job_of(sql={"finish": {"file": "finish.sql", "given": ["first_day"]}}))
    with pytest.raises(BadDeclarationError, match=r"finish\.sql: first_day is not known when it runs"):
        await late.finish(RUN)


async def test_a_statement_ends_where_a_path_leads(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """Names are found in the job's schemas, whatever they are called, and so is the chunks' own ledger."""
    await watcher.execute('CREATE SCHEMA "It\'s ""odd"""')
    database = databases.of(job_of(database={"search_path": ['It\'s "odd"', "public"]}))
    assert await database.prepare(RUN, WINDOW)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'It''s \"odd\"'"
    assert await watcher.fetchval(tables) == 5
    assert await databases.of(job_of()).present_run() is None


async def test_chunks_are_registered_finished_and_tried_again(
    databases: PostgresJobDatabases, tables: PostgresChunkTables, watcher: Connection
) -> None:
    """Registering may be repeated; only done chunks are finished; attempts are given back to the named ones only."""
    job = job_of()
    database = databases.of(job)
    await database.prepare(RUN, WINDOW)
    chunks = [PlannedChunk(chunk_id=str(number), rows=0, keys=0) for number in range(6_000)]
    await database.register(RUN, chunks[:10])
    done, *others = (chunk_of(job, name, []) for name in ("0", "1", "11"))
    for work in (done, *others):
        assert await tables.claim(work, mark=False) == Claimed(1)
    await tables.update(done)
    await database.register(RUN, chunks)
    assert await watcher.fetchval("SELECT count(*) FROM tidegate_chunks") == 6_000
    ended = "SELECT chunk_id, updated_rows FROM tidegate_chunks WHERE state = 'done'"
    assert [tuple(row) for row in await watcher.fetch(ended)] == [("0", 0)]
    await database.retry(RUN, ["0", "1"])
    await database.retry(RUN, [])
    attempts = [(await tables.standing(job, RUN, name)).attempts for name in ("0", "1", "11")]
    assert attempts == [1, 0, 1]


async def test_the_end_of_a_run_is_told_to_the_job(databases: PostgresJobDatabases, watcher: Connection) -> None:
    """What is declared for the end runs, as often as it is asked for; a job may declare nothing."""
    await databases.of(job_of()).prepare(RUN, WINDOW)
    await databases.of(job_of()).finish(RUN)
    await databases.of(job_of(sql={"finish": None})).finish(RUN)
    assert await watcher.fetch("SELECT run_id FROM finished") == [(RUN,)]


async def test_who_may_make_no_tables_finds_those_of_others(
    databases: PostgresJobDatabases, secrets: FakeSecrets, database: Database, watcher: Connection
) -> None:
    """A role that may only work on rows takes snapshots of tables that are there, and is told where they are not."""
    role = f"worker_{database.name}"
    await watcher.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'worker'")
    secrets.stored[SECRET] = json.dumps({**json.loads(database.secret), "username": role, "password": "worker"})
    theirs = databases.of(job_of())
    with pytest.raises(PermanentError, match=r'open\.sql: relation "tidegate_jobs" does not exist'):
        await theirs.prepare(RUN, WINDOW)
    secrets.stored["owner"] = database.secret
    await databases.of(job_of(database={"secret": "owner"})).prepare("before", WINDOW)
    await watcher.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    assert await theirs.prepare(RUN, WINDOW)
    await watcher.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_snapshot_waits_for_updates_of_the_run_before(
    databases: PostgresJobDatabases, watcher: Connection
) -> None:
    """For as long as the job waits for a lock; then it comes again later."""
    database = databases.of(job_of(database={"lock_timeout_s": 1}))
    await database.prepare(RUN, WINDOW)
    async with watcher.transaction():
        await watcher.execute("SELECT FROM tidegate_jobs FOR SHARE")
        with pytest.raises(TemporaryError, match=r"open\.sql: canceling statement due to lock timeout"):
            await database.prepare("next", WINDOW)
    assert await database.prepare("next", WINDOW)


async def test_the_conflict_report_runs_as_it_is_declared(
    databases: PostgresJobDatabases, tables: PostgresChunkTables, secrets: FakeSecrets, watcher: Connection
) -> None:
    """Its files make tables and snapshot, preview and distribution agree, and its chunks account for every row."""
    job = load_jobs(PROJECT / "pipelines", {"POSTGRES_SECRET_ARN": SECRET})["conflict_report"]
    assert SECRET in secrets.stored
    database = databases.of(job)
    await database.prepare("empty", WINDOW)
    await fill(watcher, HomeCare(visits=2_000, first_day=WINDOW.first_day, skewed=100))
    assert await database.prepare(RUN, WINDOW)
    keys = [key async for key in database.distribution()]
    assert keys == [key async for key in database.preview(WINDOW)]
    half = len(keys) // 2
    one, two = chunk_of(job, "0", keys[:half]), chunk_of(job, "1", keys[half:])
    assert await tables.claim(one, mark=True) == Claimed(1, marked=one.rows)
    done = await tables.update(one)
    assert done is not None
    assert (done.rows, done.gone) == (one.rows, 0)
    deleted = await watcher.execute('DELETE FROM conflictvisitmaps WHERE "UpdatedDate" IS NULL AND "ID" % 7 = 0')
    await tables.claim(two, mark=False)
    done = await tables.update(two)
    assert done is not None
    assert (done.rows + done.gone, f"DELETE {done.gone}") == (two.rows, deleted)
    assert one.rows + two.rows == 2_000
    assert await watcher.fetchval('SELECT "InProgressFlag" FROM settings') == 1
    await database.finish(RUN)
    assert await watcher.fetchval('SELECT "InProgressFlag" FROM settings') == 0
