"""311 service requests from the sample portal: a first load, late rows, an empty day, a day over the limit.

The portal's time is set by hand, so that each day publishes exactly what the generator foresaw. In the end the output
is compared with the portal row by row, read without any of the services' own code.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from contracts.pipelines import Pipeline
from contracts.runs import CollectPayload, PlanRun, RunState
from contracts.sources import SocrataSource
from services.console.checkpoint_files import fetch
from services.console.commands.demos.proof import Line, prove, show_lines
from services.console.commands.query import ask
from services.console.commands.status import show
from services.console.demo.portal import Portal, open_portal
from services.console.demo.service_requests import Expected, Sample, ServiceRequest, generate
from services.console.following import Followed, follow_run
from services.console.output import as_rows, emit_table, say
from services.console.session import PLAN_QUEUE, Session
from services.runtime.failures import PermanentError

PIPELINE = "nyc_311"
DAYS = 35
ROWS_PER_DAY = 300
LIMIT = 60
TIMEOUT_S = 300.0
BAR = 40
"""Columns of the longest bar in the chart."""


@dataclass(frozen=True, slots=True)
class Day:
    """One run: when the portal stands, and what is asked."""

    what: str
    at: datetime
    max_records: int | None = None


async def show_nyc_311(session: Session, out: Path, *, seed: int, portal_url: str) -> None:
    """Collect a few days from the sample portal and prove what came of it.

    Raises:
        PermanentError: something is not as foreseen; the text says what.
    """
    pipeline = session.pipeline(PIPELINE)
    today = session.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    first = today - timedelta(days=3)
    sample = Sample(
        count=(DAYS + 3) * ROWS_PER_DAY, seed=seed, start=first - timedelta(days=DAYS), rows_per_day=ROWS_PER_DAY
    )
    requests = list(generate(sample))
    days = [
        Day("initial load", first),
        Day("second day, with late rows", first + timedelta(days=1)),
        Day("empty day", first + timedelta(days=1)),
        Day(f"day over its limit of {LIMIT}", first + timedelta(days=2), LIMIT),
        Day("continuation", first + timedelta(days=2)),
    ]
    started = session.clock.monotonic()
    async with open_portal(portal_url) as portal:
        await portal.generate(_source(pipeline).dataset or "", sample.model_dump(mode="json"))
        lines, runs = await _live(session, portal, requests, days)
        seconds = session.clock.monotonic() - started
        source = _source(pipeline)
        rows = await portal.rows(source.dataset or "", source.where, f"{source.cursor}, {source.unique_key}")
    files = await fetch(session, pipeline, out / PIPELINE)
    records = await asyncio.to_thread(ask, files, pipeline.entity, f"SELECT * FROM {pipeline.entity}", {})  # noqa: S608 - the entity is an identifier
    good = len(rows) - _count(rows, Expected.of(requests).quarantined)
    lines += [
        Line("rows in the output, as the portal has them", good, _equal(rows, records, pipeline)),
        Line("rows in the output", good, len(records)),
        Line("query duplicates", 0, len(_named(pipeline, files, "duplicates"))),
    ]
    _chart(_named(pipeline, files, "by_day"))
    emit_table("Service requests by status (query by_status)", *as_rows(_named(pipeline, files, "by_status")))
    _summary(runs)
    show_lines("Demo: NYC 311", lines)
    say(f"table: {runs[0][1].run.destination}… -> {out / PIPELINE} ({len(files)} files)")
    say(f"{len(runs)} runs in {seconds:.1f} s")
    prove(PIPELINE, lines)


async def _live(
    session: Session, portal: Portal, requests: Sequence[ServiceRequest], days: Sequence[Day]
) -> tuple[list[Line], list[tuple[str, Followed]]]:
    """Run after run; each must bring exactly what was published and not brought before, as far as its limit goes."""
    lines: list[Line] = []
    runs: list[tuple[str, Followed]] = []
    brought = 0
    for day in days:
        await portal.clock(day.at.isoformat(timespec="milliseconds"))
        run_id = f"{PIPELINE}-demo-{uuid4().hex[:8]}"
        request = PlanRun(pipeline=PIPELINE, run_id=run_id, collect=CollectPayload(max_records=day.max_records))
        await session.publisher.send(PLAN_QUEUE, [request], run_id=run_id)
        followed = await follow_run(session, run_id, TIMEOUT_S)
        show(followed)
        if followed.run.state is not RunState.SUCCEEDED or not followed.table.balanced:
            raise PermanentError(f"demo: {PIPELINE}: {day.what}: run {run_id} {followed.run.state}")
        there = len(Expected.of(requests, published_by=day.at).merged)
        if day.max_records is None:
            lines.append(Line(f"{day.what}: new rows", there - brought, followed.table.records))
        else:
            covered = followed.run.collection
            limited = covered is not None and covered.limit is not None
            lines.append(Line(f"{day.what}: limit reached", 1, int(limited)))
        brought += followed.table.records
        runs.append((day.what, followed))
    return lines, runs


def _source(pipeline: Pipeline) -> SocrataSource:
    if not isinstance(pipeline.source, SocrataSource):
        raise PermanentError(f"demo: {pipeline.name} is not collected from a portal")
    return pipeline.source


def _named(pipeline: Pipeline, files: Sequence[Path], name: str) -> list[dict[str, Any]]:
    return ask(files, pipeline.entity, pipeline.queries[name].sql.replace("{table}", pipeline.entity), {})


def _count(rows: Iterable[Mapping[str, Any]], keys: frozenset[str]) -> int:
    return sum(row["unique_key"] in keys for row in rows)


def _equal(rows: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], pipeline: Pipeline) -> int:
    """How many of the portal's rows are in the output with the same text in every text column and the same moment."""
    texts = [name for name, column in pipeline.columns.items() if column.type == "string"]
    output = {record["unique_key"]: record for record in records}
    equal = 0
    for row in rows:
        record = output.get(row["unique_key"])
        if record is not None and record["created_date"] == datetime.fromisoformat(row["created_date"]):
            equal += all(record[name] == row.get(name) for name in texts)
    return equal


def _summary(runs: Sequence[tuple[str, Followed]]) -> None:
    rows = [
        [
            what,
            followed.run.mode.value,
            followed.fetched or 0,
            followed.table.records,
            sum(hop.duplicates for hop in followed.table.hops),
            sum(hop.quarantined for hop in followed.table.hops),
            followed.nulled,
            "yes" if followed.table.balanced else "NO",
        ]
        for what, followed in runs
    ]
    columns = ["run", "mode", "fetched", "new", "known", "quarantined", "nulled", "balanced"]
    emit_table("NYC 311, run by run (rows)", columns, rows)


def _chart(days: Sequence[Mapping[str, Any]]) -> None:
    """Daily counts as bars."""
    most = max((day["requests"] for day in days), default=1)
    say("Service requests by day (query by_day)")
    for day in days:
        bar = "█" * max(1, round(day["requests"] / most * BAR))
        say(f"  {day['day']}  {bar} {day['requests']:,}")
