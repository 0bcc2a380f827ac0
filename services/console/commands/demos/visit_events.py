"""Visit events: files with mistakes in them are put, announced twice, and scanned afterwards."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from contracts.runs import PlanRun, RunState
from services.console.checkpoint_files import fetch
from services.console.commands.demos.proof import Line, prove, show_lines
from services.console.commands.put import IN_FLIGHT
from services.console.commands.quarantine import entries
from services.console.commands.query import ask
from services.console.commands.status import show
from services.console.demo.notifications import announce_again
from services.console.demo.visit_events import Upload
from services.console.following import follow_run, look, wait_idle
from services.console.output import as_rows, emit_table, meter, say
from services.console.session import PLAN_QUEUE, Session
from services.runtime.failures import PermanentError
from services.runtime.objects import ObjectInfo

PIPELINE = "visit_events"
AGAIN = 100
"""Notifications that the demo delivers a second time."""
FILES_A_COMMIT = 10
"""Fewest files that share a commit where many come at once."""
FEW_COMMITS = 20
"""As many may be made of however few files: a slow machine puts those one after the other."""
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What all runs of the pipeline together have done so far, in occurrences, and in how many commits."""

    merged: int = 0
    quarantined: int = 0
    filtered: int = 0
    ignored: int = 0
    duplicates: int = 0
    commits: int = 0

    def since(self, before: "Totals") -> "Totals":
        """What was added."""
        return Totals(
            self.merged - before.merged,
            self.quarantined - before.quarantined,
            self.filtered - before.filtered,
            self.ignored - before.ignored,
            self.duplicates - before.duplicates,
            self.commits - before.commits,
        )


async def show_visit_events(session: Session, uploads: Sequence[Upload], out: Path) -> None:
    """Ingest generated files and prove what came of each.

    Raises:
        PermanentError: something is not as foreseen; the text says what.
    """
    pipeline = session.pipeline(PIPELINE)
    prefix = f"{pipeline.source.prefix}demo-{uuid4().hex[:8]}/"
    before = await _totals(session)
    started = session.clock.monotonic()
    put = await _put(session, prefix, uploads)
    await wait_idle(session, TIMEOUT_S)
    seconds = session.clock.monotonic() - started
    await announce_again(session, put[:AGAIN])
    await wait_idle(session, TIMEOUT_S)
    await _scan_finds_nothing(session)
    added = (await _totals(session)).since(before)
    [file, *_] = await fetch(session, pipeline, out / PIPELINE)
    for run in await session.ledger.runs():
        if run.pipeline == PIPELINE:
            show(await look(session, run.run_id))
    sql = pipeline.queries["monthly_report"].sql.replace("{table}", pipeline.entity)
    report = await asyncio.to_thread(ask, [file], pipeline.entity, sql, {})
    emit_table("Visits by latest status (query monthly_report, first rows)", *as_rows(report[:8]))
    lines = await _compare(session, uploads, put, added, prefix)
    show_lines("Demo: visit events", lines)
    say(f"checkpoint: {session.destination(pipeline).uri} -> {file}")
    say(f"{len(uploads)} files in {seconds:.1f} s, from the first put to the last commit")
    prove(PIPELINE, lines)


async def _compare(
    session: Session, uploads: Sequence[Upload], put: Sequence[ObjectInfo], added: Totals, prefix: str
) -> list[Line]:
    expected = Counter(upload.expected for upload in uploads)
    foreseen = Counter(upload.reason for upload in uploads if upload.expected == "quarantined")
    pipeline = session.pipeline(PIPELINE)
    reasons = Counter(
        e["reason"] for e in await entries(session, pipeline) if e["occurrence"]["key"].startswith(prefix)
    )
    return [
        Line("files put", len(uploads), len(put)),
        Line("merged", expected["merged"], added.merged),
        *(Line(f"quarantined: {reason}", count, reasons[reason]) for reason, count in sorted(foreseen.items())),
        Line("filtered (sandbox projects)", expected["filtered"], added.filtered),
        Line("ignored (foreign files)", expected["ignored"], added.ignored),
        Line("notifications delivered twice", min(AGAIN, len(put)), added.duplicates, at_least=True),
        Line("commits, at most", max(len(put) // FILES_A_COMMIT, FEW_COMMITS), added.commits, at_most=True),
    ]


async def _scan_finds_nothing(session: Session) -> None:
    run_id = f"{PIPELINE}-demo-{uuid4().hex[:8]}"
    await session.publisher.send(PLAN_QUEUE, [PlanRun(pipeline=PIPELINE, run_id=run_id)], run_id=run_id)
    scan = await follow_run(session, run_id, TIMEOUT_S)
    if scan.run.state is not RunState.SUCCEEDED or scan.table.records:
        raise PermanentError(f"demo: the scan afterwards should find nothing new, but {scan.table.records} records")


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
        commits=sum(head.version for head in await session.checkpoints.list(PIPELINE)),
    )
