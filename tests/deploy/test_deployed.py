"""What Terraform makes works: all pipelines through functions that may do what their roles allow, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import asyncpg
import pytest

from contracts.chunks import ChunkPayload
from contracts.runs import RunState
from contracts.topology import TOPOLOGY
from infra.packages.declared import read_packages
from services.console.commands.demos.conflict_report import show_conflict_report
from services.console.commands.demos.ecommerce import show_ecommerce
from services.console.commands.demos.nyc_311 import show_nyc_311
from services.console.commands.demos.visit_events import show_visit_events
from services.console.demo.home_care_report import Report, equal
from services.console.demo.shop import Access
from services.console.demo.shop_api import open_commerce
from services.console.demo.shop_changes import Shop
from services.console.demo.visit_events import generate
from services.console.local.credentials import HOME_CARE, OWNER_SECRET
from services.console.local.machines import run_execution
from services.console.output import emit_table
from services.console.session import Session
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.chunking.window import window_of
from tests.deploy.asking import Asking, eventually
from tests.deploy.cloud import Deployed

pytestmark = pytest.mark.deploy

SEED = 2026
UPLOADS = 120
JOB = "conflict_report"
WARM = 5
"""Invocations of a warm function that its time is the median of."""
COLD_WITHIN_S = 60.0
SERVICES = tuple(read_packages().functions)


@asynccontextmanager
async def database_of(session: Session, name: str) -> AsyncIterator[tuple[Access, "asyncpg.Connection"]]:
    """A sample database, as its owner sees it."""
    secrets = SecretsManagerSecrets(session.clients.secretsmanager, session.clock)
    owner = json.loads((await secrets.read(OWNER_SECRET)).get_secret_value())
    access = Access(owner["host"], owner["port"], owner["password"])
    connection = await access.connect(name)
    try:
        yield access, connection
    finally:
        await connection.close()


async def test_visit_events(session: Session, asking: Asking, tmp_path: Path) -> None:
    """Files that are put, announced twice and scanned are merged, or judged bad, each exactly once."""

    async def all_put() -> bool:
        return await asking.count("validate-objects") >= UPLOADS

    async def go_on() -> None:
        await eventually(all_put, "all files are put")
        await asking.read_queues("validator", enabled=True)

    # First batches as large as they come. Of one announcement alone the second one would be the very same segment,
    # which is done already and counts nothing, so that the demo would miss a duplicate.
    await asking.read_queues("validator", enabled=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go_on())
        await show_visit_events(session, generate(SEED, UPLOADS), tmp_path)


async def test_nyc_311(session: Session, tmp_path: Path, deployed: Deployed) -> None:
    """Five days of a portal, with late rows and a limit, come out row for row."""
    portal = deployed.variables["SOCRATA_DOMAIN_URL"]
    await show_nyc_311(session, tmp_path, seed=SEED, portal_url=portal)


async def test_ecommerce(session: Session, tmp_path: Path, deployed: Deployed) -> None:
    """Three days of a shop, with a late commit, a failing entity and changed columns, come out version for version."""
    async with (
        database_of(session, "shop") as (access, connection),
        open_commerce(deployed.variables["PAYMENTS_API_URL"]) as api,
    ):
        await show_ecommerce(session, tmp_path, Shop(access, connection, api))


async def test_conflict_report(session: Session) -> None:
    """In chunks, by the planner and by a state machine, the rows are those of the one statement."""
    async with database_of(session, HOME_CARE) as (_, connection):
        await show_conflict_report(session, report_on(session, connection))


async def test_conflict_report_in_one_piece(session: Session) -> None:
    """The other state machine makes the same of visits that were put off meanwhile."""
    async with database_of(session, HOME_CARE) as (_, connection):
        report = report_on(session, connection)
        window = window_of(report.job.job.window, ChunkPayload(), session.clock.now().date())
        await report.postpone()
        foreseen = await report.foreseen(window)
        ended = await run_execution(session.clients, session.settings.stack, "conflict-report", {})
        assert ended["status"] == "SUCCEEDED", ended
        rows = await report.rows()
        assert len(foreseen) == equal(foreseen, rows)
        run = await session.ledger.run(ended["executionArn"].rpartition(":")[2])
        assert run is not None
        assert run.state is RunState.SUCCEEDED


def report_on(session: Session, connection: "asyncpg.Connection") -> Report:
    """The visits and the job."""
    return Report(connection, session.jobs[JOB], session.settings.pipelines / JOB)


async def test_start_times(asking: Asking, capsys: pytest.CaptureFixture[str]) -> None:
    """A cold function answers within the time that a caller may wait; what each takes is printed."""
    rows = []
    for service in SERVICES:
        queue = next(queue for queue in TOPOLOGY.queues if queue.consumer == service)
        nothing = asking.event(queue.name, "{}")
        await asking.make_cold(service)
        cold = await asking.invoke(service, nothing)
        warm = [await asking.invoke(service, nothing) for _ in range(WARM)]
        assert {answer.failed for answer in (cold, *warm)} == {True}
        assert {answer.error for answer in (cold, *warm)} == {None}
        typical = median(answer.seconds for answer in warm)
        assert typical < cold.seconds < COLD_WITHIN_S
        rows.append([service, f"{cold.seconds:.1f}", f"{1000 * typical:.0f}"])
    with capsys.disabled():
        emit_table("Functions on the emulator", ["function", "cold (s)", "warm (ms)"], rows)


async def test_every_line_names_its_service(asking: Asking) -> None:
    """Also those of warm invocations, of which there were many."""
    for service in SERVICES:
        lines = await asking.lines(service)
        assert lines
        assert {line["service"] for line in lines if "event" in line} == {service}
