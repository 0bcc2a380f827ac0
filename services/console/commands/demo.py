"""``tidegate demo``: the main job on generated samples, through the running or a temporary stack."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import asyncpg
import typer

from services.console.commands.demos.conflict_report import JOB as CONFLICT_REPORT
from services.console.commands.demos.conflict_report import show_conflict_report
from services.console.commands.demos.ecommerce import GROUP as ECOMMERCE
from services.console.commands.demos.ecommerce import show_ecommerce
from services.console.commands.demos.nyc_311 import PIPELINE as NYC_311
from services.console.commands.demos.nyc_311 import show_nyc_311
from services.console.commands.demos.visit_events import show_visit_events
from services.console.demo.home_care_report import Report
from services.console.demo.shop import Access
from services.console.demo.shop_api import open_commerce
from services.console.demo.shop_changes import Shop
from services.console.demo.visit_events import generate
from services.console.local.credentials import HOME_CARE, OWNER_SECRET
from services.console.local.stack import reset, up
from services.console.local.state import DataDir, exports
from services.console.output import note, say
from services.console.session import Session, open_session, points_somewhere, use_embedded_stack
from services.runtime.aws.secrets import SecretsManagerSecrets
from services.runtime.failures import PermanentError
from services.runtime.postgres.access import PostgresAccess

OUT = Path("out")
SIGNALLED = 128
"""Added to a signal's number, the exit code of who ended by it."""
LOCAL = ("http://127.0.0.1:", "http://localhost:")
"""Where a sample portal can be; the demo must not write to any other."""
HOSTS = ("127.0.0.1", "localhost")
"""The same of a sample database."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        files: Annotated[int, typer.Option(help="visit-event files to generate", min=50)] = 2_000,
        seed: Annotated[int, typer.Option(help="same seed, same samples")] = 2026,
        out: Annotated[Path, typer.Option(help="folder for the results")] = OUT,
    ) -> None:
        """Generate samples, ingest them, prove that no row is lost or doubled, and show the results."""
        with _some_stack() as temporary:
            asyncio.run(_demo(files, seed, out))
        _next_steps(temporary=temporary)


@contextmanager
def _some_stack() -> Iterator[bool]:
    """The stack the environment points at, the embedded one that runs, or a temporary one; True if temporary."""
    use_embedded_stack(os.environ)
    if points_somewhere(os.environ):
        yield False
        return
    with TemporaryDirectory(prefix="tidegate-demo-") as folder:
        home = DataDir(Path(folder) / "stack")
        note("starting a temporary embedded stack (AWS emulator, sample sources and services)")
        started = up(home, port=0, detach=True, progress=note)
        before = signal.signal(signal.SIGTERM, _end)  # the stack must not outlive the demo
        try:
            os.environ.update(exports(started.state))
            yield True
        finally:
            reset(home, note)  # the shop's database may lie outside of the folder
            signal.signal(signal.SIGTERM, before)


def _end(number: int, _: object) -> None:
    raise SystemExit(SIGNALLED + number)


async def _demo(files: int, seed: int, out: Path) -> None:
    async with open_session() as session:
        await show_visit_events(session, generate(seed, files), out)
        if portal := await _free_portal(session):
            await show_nyc_311(session, out, seed=seed, portal_url=portal)
        async with _free_shop(session) as shop:
            if shop is not None:
                await show_ecommerce(session, out, shop)
        async with _free_visits(session) as report:
            if report is not None:
                await show_conflict_report(session, report)


async def _free_portal(session: Session) -> str | None:
    """The sample portal, if the demo may put its own rows there: it sets the portal's time, and starts from nothing."""
    portal = os.environ.get("SOCRATA_DOMAIN_URL", "")
    if not portal.startswith(LOCAL):
        note(f"{NYC_311} is left out: SOCRATA_DOMAIN_URL does not name a sample portal")
        return None
    if await session.watermarks.read(session.pipeline(NYC_311).watermark) is not None:
        note(f"{NYC_311} is left out: this stack has collected it before; `tidegate local reset` starts over")
        return None
    return portal


@asynccontextmanager
async def _free_shop(session: Session) -> AsyncIterator[Shop | None]:
    """The sample shop, if the demo may change it: its rows become the demo's, and bronze must start from nothing."""
    url = os.environ.get("PAYMENTS_API_URL", "")
    if not url.startswith(LOCAL):
        note(f"{ECOMMERCE} is left out: PAYMENTS_API_URL does not name a sample shop")
        yield None
        return
    marks = [await session.watermarks.read(each.watermark) for each in session.members(ECOMMERCE)]
    if any(mark is not None for mark in marks):
        note(f"{ECOMMERCE} is left out: this stack has landed it before; `tidegate local reset` starts over")
        yield None
        return
    secrets = SecretsManagerSecrets(session.clients.secretsmanager, session.clock)
    owner = json.loads((await secrets.read(OWNER_SECRET)).get_secret_value())
    access = Access(owner["host"], owner["port"], owner["password"])
    connection = await access.connect()
    try:
        async with open_commerce(url) as api:
            yield Shop(access, connection, api)
    finally:
        await connection.close()


@asynccontextmanager
async def _free_visits(session: Session) -> AsyncIterator[Report | None]:
    """The conflict report's database, if it is the sample: the demo changes visits in it."""
    job = session.jobs.get(CONFLICT_REPORT)
    access = PostgresAccess(SecretsManagerSecrets(session.clients.secretsmanager, session.clock))
    try:
        place = None if job is None else await access.parameters(job.job.database.secret)
    except PermanentError:
        place = None
    if job is None or place is None or place.host not in HOSTS or place.database != HOME_CARE:
        note(f"{CONFLICT_REPORT} is left out: its secret does not name the sample database")
        yield None
        return
    connection = await asyncpg.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        password=place.password.get_secret_value(),
        database=place.database,
    )
    try:
        yield Report(connection, job, session.settings.pipelines / CONFLICT_REPORT)
    finally:
        await connection.close()


def _next_steps(*, temporary: bool) -> None:
    program = sys.argv[0] if Path(sys.argv[0]).name == "tidegate" else "tidegate"
    steps = [
        ("local up --detach", "a stack that stays"),
        ("put visit_events DIR", "upload your own event files"),
        ("plan nyc_311", "what a run would collect"),
        ("run nyc_311 --wait", "collect it from the sample portal"),
        ("query nyc_311 open_by_type", "ask the output"),
        ("run ecommerce --wait", "land the sample shop's entities"),
        ("query ecommerce versions", "ask all of them"),
        ("run conflict_report --wait", "recompute the conflicts of the sample visits"),
        ("action validate_config", "one action of the report, as a state machine asks for it"),
        ("quarantine list visit_events", "what was judged bad, and why"),
        ("status", "runs and their state"),
    ]
    say("try next:")
    for arguments, what in steps if temporary else steps[1:]:
        say(f"  {program} {arguments:<38} {what}")
