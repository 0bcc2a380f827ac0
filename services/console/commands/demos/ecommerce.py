"""The shop's bronze tier: a full load, changes, a late commit, an entity that fails and recovers, a changed schema.

Before each run the shop is read without any of the services' own code. In the end bronze must hold exactly the versions
that were there, each once, with the same value in every column.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from contracts.runs import LoadPayload, LoadType, PlanRun, RunState
from contracts.sources import EntitySource
from contracts.targets import BronzeTarget
from services.console.bronze_files import EntityFiles, fetch_entity
from services.console.commands.demos.proof import Line, prove, show_lines
from services.console.commands.query import ask_entities
from services.console.commands.status import show
from services.console.demo.shop_changes import LATE_NOTE, Shop
from services.console.demo.shop_versions import KEYS, Row, Version, Versions, differences, version_of
from services.console.following import Followed, follow_run
from services.console.output import as_rows, emit_table, note, say
from services.console.session import PLAN_QUEUE, Session
from services.runtime.failures import PermanentError

GROUP = "ecommerce"
BROKEN = "order_items"
"""The entity that the services may not read for a while."""
MARGIN_S = 0.2
"""Seconds beyond the source's lag after which what was just committed can be read for sure."""
TIMEOUT_S = 180.0
FULL = "full load"
DAY_1 = "day 1"
DAY_2 = "day 2"
WHAT = {
    FULL: "everything that the shop has",
    DAY_1: f"a transaction is still open, and {BROKEN} cannot be read",
    DAY_2: f"the transaction has committed, {BROKEN} catches up, columns were added and widened",
}
"""What each run shows."""


@dataclass
class Story:
    """What was brought so far, and what was foreseen."""

    session: Session
    shop: Shop
    brought: dict[str, dict[Version, Row]] = field(default_factory=lambda: {entity: {} for entity in KEYS})
    lines: list[Line] = field(default_factory=list)
    late: int = 0
    """Rows that were committed late."""

    async def run(self, what: str, load_type: LoadType = LoadType.INCREMENTAL, failing: str | None = None) -> Followed:
        """One run of the group: it must bring every version from before its end that is not there yet, and no other."""
        seen = await Versions.look(self.shop.connection, self.shop.api)
        run_id = f"{GROUP}-demo-{uuid4().hex[:8]}"
        request = PlanRun(pipeline=GROUP, run_id=run_id, load=LoadPayload(load_type=load_type))
        await self.session.publisher.send(PLAN_QUEUE, [request], run_id=run_id)
        followed = await follow_run(self.session, run_id, TIMEOUT_S)
        say(f"\n{what}: {WHAT[what]}")
        show(followed)
        failed = [child.entity for child in followed.children if child.run.state is not RunState.SUCCEEDED]
        if failed != ([] if failing is None else [failing]):
            raise PermanentError(f"demo: {GROUP}: {what}: run {run_id} {followed.run.state}: {followed.run.reason}")
        new = 0
        for child in followed.children:
            if child.run.state is RunState.SUCCEEDED and child.run.collection is not None:
                there = seen.until(child.entity, child.run.collection.end)
                new += len(there.keys() - self.brought[child.entity].keys())
                self.brought[child.entity] |= there
        self.lines.append(Line(f"{what}: new versions", new, followed.records))
        return followed


async def show_ecommerce(session: Session, out: Path, shop: Shop) -> None:
    """Land the sample shop over a few days and prove what came of it.

    Raises:
        PermanentError: something is not as foreseen; the text says what.
    """
    started = session.clock.monotonic()
    story = Story(session, shop)
    await _live(story)
    seconds = session.clock.monotonic() - started
    files = {pipeline.entity: await fetch_entity(session, pipeline, out / GROUP) for pipeline in session.members(GROUP)}
    bronze = {entity: await asyncio.to_thread(_rows, each) for entity, each in files.items()}
    story.lines += [line for entity, rows in bronze.items() for line in _compare(story, entity, rows)]
    story.lines += _late(story, files["orders"], bronze["orders"])
    queries = session.groups[GROUP].queries
    everything = list(files.values())
    story.lines.append(Line("query duplicates", 0, len(ask_entities(everything, queries["duplicates"].sql, {}))))
    story.lines += await _evolved(session)
    await _show_state(session)
    emit_table("Versions and records (query versions)", *as_rows(ask_entities(everything, queries["versions"].sql, {})))
    show_lines("Demo: e-commerce", story.lines)
    parts = sum(len(each.files) for each in everything)
    say(f"bronze: {files['orders'].pipeline.target.key}… -> {out / GROUP} ({parts} parts)")
    say(f"3 runs of {len(KEYS)} entities in {seconds:.1f} s")
    prove(GROUP, story.lines)


async def _live(story: Story) -> None:
    """Day after day."""
    shop = story.shop
    source = story.session.pipeline(f"{GROUP}.{BROKEN}").source
    settle_s = source.lag_seconds + MARGIN_S if isinstance(source, EntitySource) else MARGIN_S
    await story.run(FULL, LoadType.FULL)
    await shop.changes(1)
    await shop.revoke(BROKEN)
    await asyncio.sleep(settle_s)
    async with shop.late() as late:
        # Newer than what is open: a watermark that followed the greatest cursor would skip the late rows for good.
        await shop.connection.execute("UPDATE orders SET note = 'after the late ones' WHERE order_id % 100 = 78")
        partly = await story.run(DAY_1, failing=BROKEN)
        await late.commit()
        story.late = late.rows
    named = f"{GROUP}.{BROKEN}: " in (partly.run.reason or "")
    story.lines.append(Line("the result names the failed entity and why", 1, int(named)))
    await _show_log(story.session, partly)
    await shop.grant(BROKEN)
    await shop.evolve()
    await shop.changes(2)
    await asyncio.sleep(settle_s)
    await story.run(DAY_2)


def _late(story: Story, orders: EntityFiles, rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """In which load the rows came that were committed late."""
    loads = [load.manifest.ingestion_id for load in orders.loads]
    found = Counter(loads.index(row["_ingestion_id"]) for row in rows if row["note"] == LATE_NOTE)
    yield Line(f"{DAY_1}: late rows (not committed yet)", 0, found[1])
    yield Line(f"{DAY_2}: late rows", story.late, found[2])


def _rows(entity: EntityFiles) -> list[dict[str, Any]]:
    return ask_entities([entity], f"SELECT * FROM {entity.pipeline.entity}", {})  # noqa: S608 - a declared name


def _compare(story: Story, entity: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Every version once, none too many, and each as the shop had it."""
    expected = story.brought[entity]
    counted = Counter(version_of(row, KEYS[entity]) for row in rows)
    once = sum(counted[version] == 1 for version in expected)
    unlike: Counter[str] = Counter()
    equal = 0
    for row in rows:
        source = expected.get(version_of(row, KEYS[entity]))
        wrong = ["(not in the shop)"] if source is None else differences(source, dict(row))
        unlike.update(wrong)
        equal += not wrong
    yield Line(f"{entity}: versions that are in bronze exactly once", len(expected), once)
    yield Line(f"{entity}: rows equal to the shop's in every column", len(expected), equal)
    if unlike:
        note(
            f"{entity}: columns that differ: {', '.join(f'{name} ({count})' for name, count in unlike.most_common(8))}"
        )


async def _evolved(session: Session) -> Iterator[Line]:
    orders = await session.entity_schemas.history(session.pipeline(f"{GROUP}.orders").watermark)
    items = await session.entity_schemas.history(session.pipeline(f"{GROUP}.{BROKEN}").watermark)
    added = {each.name for each in orders[-1].fields} - {each.name for each in orders[0].fields}
    types = [{each.name: each.type for each in version.fields}["quantity"] for version in (items[0], items[-1])]
    return iter(
        [
            Line("orders: columns that were added", 1, len(added)),
            Line("order_items: quantity widened", 1, int(types == ["int32", "int64"])),
        ]
    )


async def _show_log(session: Session, followed: Followed) -> None:
    if followed.run.log is not None:
        bucket, key = followed.run.log.split("/", 1)
        say(f"s3://{followed.run.log}")
        say((await session.objects.get(bucket, key)).body.decode().rstrip())


async def _show_state(session: Session) -> None:
    pipeline = session.members(GROUP)[0]
    if isinstance(pipeline.target, BronzeTarget):
        bucket, key = session.destination(pipeline).bucket, f"{pipeline.target.logs}checkpoints.json"
        say(f"s3://{bucket}/{key}")
        say(json.dumps(json.loads((await session.objects.get(bucket, key)).body), indent=2))
