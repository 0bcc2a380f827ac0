"""``tidegate`` over chunked runs that a planner and a chunk worker carry out."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.chunks import ActionName
from services.console.commands.demos.conflict_report import JOB, show_conflict_report
from services.console.demo.home_care import HomeCare, fill
from services.console.demo.home_care_database import set_up
from services.console.demo.home_care_report import Report
from services.console.local.credentials import CHUNKS_SECRET
from services.console.local.emulator import Emulator
from services.console.local.vault import publish
from services.console.session import Session
from services.runtime.chunking.jobs import load_jobs
from services.runtime.settings import PROJECT
from tests.cli_support import done, tidegate
from tests.e2e.fleet import Fleet
from tests.emulator_support import new_stack, provision_now
from tests.integration.console_support import in_session
from tests.postgres_support import Database, PostgresServer

VISITS = 1_500
JOBS = load_jobs(PROJECT / "pipelines", {})


@pytest.fixture(scope="module")
def report(
    emulator: Emulator, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database with visits, and a stack with a planner and a chunk worker that know it."""
    stack, database = new_stack(emulator), postgres.new_database()
    fleet = Fleet(stack, tmp_path_factory.mktemp("workers"))
    fleet.settings |= {"PAYMENTS_API_URL": "http://127.0.0.1:1"}
    asyncio.run(_fill(database))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**stack.environ, **fleet.settings}.items():
            patch.setenv(name, value)
        provision_now(stack)
        in_session(lambda session: _prepare(session, database))
        try:
            fleet.start("planner")
            fleet.start("chunk_worker")
            yield database
        finally:
            fleet.kill_all()
            postgres.drop(database)


async def _prepare(session: Session, database: Database) -> None:
    await publish(session.clients, {CHUNKS_SECRET: database.secret})
    for name in (
        "validate-objects",
        "merge-segments",
    ):  # where buckets announce that they will announce, to nobody here
        queue = session.settings.resource(name)
        url = (await session.clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        await session.clients.sqs.purge_queue(QueueUrl=url)


async def _fill(database: Database) -> None:
    connection = await database.connect()
    try:
        await set_up(connection, JOBS[JOB])
        await fill(connection, HomeCare(VISITS, datetime.now(UTC).date() - timedelta(days=10), days=20, skewed=700))
    finally:
        await connection.close()


pytestmark = pytest.mark.usefixtures("report")


def test_a_plan_is_shown_and_nothing_is_written() -> None:
    """With the key that is larger than a chunk should be."""
    told = done("plan", JOB, "--payload", '{"target_rows": 300, "max_rows": 300}', "--json").json
    assert (told["mode"], told["rows"], told["messages"]) == ("chunks", VISITS, len(told["segments"]))
    assert len(told["warnings"]) == 1
    assert "700 rows" in done("plan", JOB, "--payload", '{"target_rows": 300, "max_rows": 300}').out


def test_a_run_answers_with_what_it_did() -> None:
    """Its progress is told in chunks and rows; its status has the same numbers."""
    ended = done("run", JOB, "--payload", '{"target_rows": 400}', "--wait", "--json")
    assert ended.json["statusCode"] == 200
    body = ended.json["body"]
    assert (body["message"], body["chunks_failed"], body["rows"]) == ("Chunked run successful", 0, VISITS)
    assert f"run {body['run_id']}: {body['chunks']} of {body['chunks']} chunks, 1,500 of 1,500 rows" in ended.err
    told = done("status", body["run_id"], "--json").json
    assert (told["settled"], told["rows_done"], told["balanced"]) == (body["chunks"], VISITS, True)
    done("wait", "--idle", "--timeout", "20")


def test_a_paused_run_goes_on_where_it_was() -> None:
    """Paused before it is planned or after, it ends with every row updated once."""
    run_id = done("run", JOB, "--payload", '{"target_rows": 40, "max_rows": 1000}', "--json").json["run_id"]
    while "there is no run" in (asked := tidegate("run", "pause", run_id)).err:
        pass  # the planner has not opened it yet
    assert asked.code == 0
    done("wait", "--idle", "--timeout", "20")
    assert done("status", run_id, "--json").json["state"] != "succeeded"
    assert done("run", "resume", run_id, "--wait", "--json").json["body"]["rows"] == VISITS


def test_an_action_prints_its_result() -> None:
    """As the chunk worker gives it, with its exit code."""
    told = json.loads(done("action", "test_postgres").out)
    assert (told["action"], told["status"]) == ("test_postgres", "success")
    wrong = tidegate("action", "task_01", "--payload", "[]")
    assert (wrong.code, wrong.out) == (2, "")


def test_an_action_that_there_is_not_names_those_that_there_are() -> None:
    """All seven."""
    ended = tidegate("action", "nothing")
    assert ended.code == 2
    assert ended.err == f"error: there is no action 'nothing'; there are {', '.join(ActionName)}\n"


def test_the_demo_proves_what_it_shows(report: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """By the planner and by the state machine the rows become what the one statement makes of them."""

    async def show(session: Session) -> None:
        connection = await report.connect()
        try:
            folder: Path = PROJECT / "pipelines" / JOB
            await show_conflict_report(session, Report(connection, session.jobs[JOB], folder))
        finally:
            await connection.close()

    in_session(show)
    out = capsys.readouterr().out
    assert "state machine conflict-report-chunked: SUCCEEDED, 30 visits were put off before" in out
