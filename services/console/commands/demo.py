"""``tidegate demo``: the main job on generated samples, through the running or a temporary stack."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import typer

from contracts.runs import PlanRun, RunState
from services.console.checkpoint_files import fetch
from services.console.commands.put import IN_FLIGHT
from services.console.commands.quarantine import entries
from services.console.commands.query import ask
from services.console.commands.run import PLAN_QUEUE
from services.console.commands.status import show
from services.console.demo.notifications import announce_again
from services.console.demo.visit_events import Upload, generate
from services.console.following import Followed, follow_run, look, wait_idle
from services.console.local.stack import down, up
from services.console.local.state import DataDir, exports
from services.console.output import as_rows, emit_table, meter, note, say
from services.console.session import Session, open_session, points_somewhere, use_embedded_stack
from services.runtime.failures import PermanentError
from services.runtime.objects import ObjectInfo

PIPELINE = "visit_events"
TWICE = "notifications delivered twice"
AGAIN = 100
"""Notifications that the demo delivers a second time."""
TIMEOUT_S = 600.0
OUT = Path("out")


@dataclass(frozen=True, slots=True)
class Totals:
    """What all runs of the pipeline together have done so far, in occurrences."""

    merged: int = 0
    quarantined: int = 0
    filtered: int = 0
    ignored: int = 0
    duplicates: int = 0

    def since(self, before: "Totals") -> "Totals":
        """What was added."""
        return Totals(
            self.merged - before.merged,
            self.quarantined - before.quarantined,
            self.filtered - before.filtered,
            self.ignored - before.ignored,
            self.duplicates - before.duplicates,
        )


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        files: Annotated[int, typer.Option(help="files to generate", min=50)] = 2_000,
        seed: Annotated[int, typer.Option(help="same seed, same files")] = 2026,
        out: Annotated[Path, typer.Option(help="folder for the results")] = OUT,
    ) -> None:
        """Generate visit events, ingest them, prove that none is lost or doubled, and show the result."""
        with _some_stack() as temporary:
            asyncio.run(_demo(generate(seed, files), out, temporary=temporary))


@contextmanager
def _some_stack() -> Iterator[bool]:
    """The stack the environment points at, the embedded one that runs, or a temporary one; True if temporary."""
    use_embedded_stack(os.environ)
    if points_somewhere(os.environ):
        yield False
        return
    with TemporaryDirectory(prefix="tidegate-demo-") as folder:
        home = DataDir(Path(folder) / "stack")
        note("starting a temporary embedded stack (AWS emulator and three services)")
        started = up(home, port=0, detach=True, progress=note)
        try:
            os.environ.update(exports(started.state))
            yield True
        finally:
            down(home, note)


async def _demo(uploads: Sequence[Upload], out: Path, *, temporary: bool) -> None:
    async with open_session() as session:
        pipeline = session.pipeline(PIPELINE)
        before = await _totals(session)
        started = session.clock.monotonic()
        prefix = f"{pipeline.source.prefix}demo-{uuid4().hex[:8]}/"
        put = await _put(session, prefix, uploads)
        await wait_idle(session, TIMEOUT_S)
        seconds = session.clock.monotonic() - started
        await announce_again(session, put[:AGAIN])
        await wait_idle(session, TIMEOUT_S)
        run_id = f"{PIPELINE}-demo-{uuid4().hex[:8]}"
        await session.publisher.send(PLAN_QUEUE, [PlanRun(pipeline=PIPELINE, run_id=run_id)], run_id=run_id)
        scan = await follow_run(session, run_id, TIMEOUT_S)
        added = (await _totals(session)).since(before)
        [file, *_] = await fetch(session, pipeline, out / PIPELINE)
        reasons = Counter(
            e["reason"] for e in await entries(session, pipeline) if e["occurrence"]["key"].startswith(prefix)
        )
        for run in await session.ledger.runs():
            if run.pipeline == PIPELINE:
                show(await look(session, run.run_id))
        report = ask(
            [file], pipeline.entity, pipeline.queries["monthly_report"].sql.replace("{table}", pipeline.entity), {}
        )
        destination = session.destination(pipeline)
    emit_table("Visits by latest status (query monthly_report, first rows)", *as_rows(report[:8]))
    expected = Counter(upload.expected for upload in uploads)
    expected_reasons = Counter(upload.reason for upload in uploads if upload.expected == "quarantined")
    rows: list[list[object]] = [
        ["files put", len(uploads), len(put)],
        ["merged", expected["merged"], added.merged],
        *([f"quarantined: {reason}", count, reasons[reason]] for reason, count in sorted(expected_reasons.items())),
        ["filtered (sandbox projects)", expected["filtered"], added.filtered],
        ["ignored (foreign files)", expected["ignored"], added.ignored],
        [TWICE, min(AGAIN, len(put)), added.duplicates],
    ]
    emit_table("Demo: visit events", ["what", "expected", "seen"], rows)
    say(f"checkpoint: {destination.uri} -> {file}")
    say(f"{len(uploads)} files in {seconds:.1f} s, from the first put to the last commit")
    _next_steps(temporary=temporary)
    _check(rows, scan)


async def _put(session: Session, prefix: str, uploads: Sequence[Upload]) -> list[ObjectInfo]:
    """Put files side by side, but versions of one key in their order."""
    bucket = session.source_bucket(session.pipeline(PIPELINE))
    by_name: dict[str, list[Upload]] = {}
    for upload in uploads:
        by_name.setdefault(upload.name, []).append(upload)
    gate = asyncio.Semaphore(IN_FLIGHT)
    put: list[ObjectInfo] = []
    with meter("files put", len(uploads)) as progress:

        async def one(versions: list[Upload]) -> None:
            for upload in versions:
                async with gate:
                    put.append(await session.objects.put(bucket, prefix + upload.name, upload.body))
                progress.update(len(put))

        async with asyncio.TaskGroup() as group:
            for versions in by_name.values():
                group.create_task(one(versions))
    return put


async def _totals(session: Session) -> Totals:
    tables = [
        (await look(session, run.run_id)).table for run in await session.ledger.runs() if run.pipeline == PIPELINE
    ]
    hops = [hop for table in tables for hop in table.hops if hop.name != "plan"]
    return Totals(
        merged=sum(table.records for table in tables),
        quarantined=sum(hop.quarantined for hop in hops),
        filtered=sum(hop.filtered for hop in hops),
        ignored=sum(hop.ignored for hop in hops),
        duplicates=sum(hop.duplicates for hop in hops),
    )


def _next_steps(*, temporary: bool) -> None:
    program = sys.argv[0] if Path(sys.argv[0]).name == "tidegate" else "tidegate"
    steps = [
        ("local up --detach", "a stack that stays"),
        ("put visit_events DIR", "upload your own event files"),
        ("wait --idle", "until everything is merged"),
        ("query visit_events latest_per_visit", "ask the checkpoint"),
        ("quarantine list visit_events", "what was judged bad, and why"),
        ("status", "runs and their state"),
    ]
    say("try next:")
    for arguments, what in steps if temporary else steps[1:]:
        say(f"  {program} {arguments:<38} {what}")


def _check(rows: Sequence[Sequence[object]], scan: Followed) -> None:
    """The demo is a proof: it fails when what was seen is not what was put.

    Raises:
        PermanentError: naming the first difference.
    """
    for what, expected, seen in rows:
        again = what == TWICE and isinstance(seen, int) and isinstance(expected, int) and seen >= expected
        if expected != seen and not again:  # SQS may deliver more than the demo did
            raise PermanentError(f"demo: {what}: expected {expected}, seen {seen}")
    if scan.run.state is not RunState.SUCCEEDED or scan.table.records:
        raise PermanentError(f"demo: the scan afterwards should find nothing new, but {scan.table.records} records")
